// Light, dark, or dim for a dark room; the screen's own choice until somebody makes one.

import { $ } from "./dom.js";
import { keep, kept } from "./kept.js";

export function startScheme() {
  const choice = $("scheme");
  choice.value = kept("scheme") ?? "auto";
  const show = () => {
    document.documentElement.dataset.scheme = choice.value;
  };
  choice.addEventListener("change", () => {
    keep("scheme", choice.value);
    show();
  });
  show();
}
