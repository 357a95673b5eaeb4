// What the page calls things. Why a series ended as it did, and what a fault is, the appliance says itself.

import { duration } from "./clock.js";

export const STATES = {
  fault: "FAULT",
  suspect: "SUSPECT",
  not_analysed: "NOT ANALYSED",
  reading: "READING",
  ready: "READY",
  no_signal: "NO SIGNAL",
};

export const OUTCOMES = {
  flagged: { word: "Suspected", shape: "suspect" },
  not_flagged: { word: "No flag", shape: "no_flag" },
  skipped: { word: "Skipped", shape: "skipped" },
  not_analysed: { word: "Not analysed", shape: "not_analysed" },
  failed: { word: "Failed", shape: "fault" },
};

export const IN_FLIGHT = { word: "In progress", shape: "reading" };

export const STAGES = {
  receiving: "slices arrive",
  waiting: "waits to be read",
  reading: "is being read",
  provisional: "read, waits for late slices",
};

export const TIMINGS = {
  parse: "files opened",
  volume: "volume built",
  queue: "waited for the model",
  infer: "model",
  record: "written down",
};

export const COMPLETED = {
  sentinel: "complete by the scanner's end file",
  count: "complete by its slice count",
  quiet: "complete by quiet",
};

export const MARKS = {
  acknowledged: "Acknowledged",
  taken_back: "Acknowledgement taken back",
  seen: "Marked as seen",
  unseen: "Marked as not seen",
  retried: "Asked to be read again",
};

export const KERNELS = { soft: "soft kernel", sharp: "sharp kernel" };

export const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Cut, not rounded: 0.4999 must not read as 0.500 beside an operating point of 0.5.
export const cut = (p) => (Math.floor(p * 1000 + 1e-9) / 1000).toFixed(3);

export const milliseconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : duration(ms / 1000));

// A study is named by the end of its accession number, or by its number in the journal.
export const studyName = ({ study, label }) => label || `no. ${study}`;

export const sentence = (known, code) => known?.[code] ?? code.replaceAll("_", " ");
