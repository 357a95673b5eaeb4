"""How a report looks: in light, in the dark, on paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --text: light-dark(#18181b, #e4e4e7); --dim: light-dark(#52525b, #a1a1aa);
  --line: light-dark(#e4e4e7, #3f3f46); --back: light-dark(#ffffff, #18181b);
  --warn: light-dark(#fff7ed, #332415); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem clamp(1rem, 4vw, 3rem) 4rem; background: var(--back);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
.about { color: var(--dim); margin: 0 0 1.5rem; overflow-wrap: anywhere; }
.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem;
  margin: 1.5rem 0; }
.key div { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; }
.key dt { color: var(--dim); font-size: .875rem; }
.key dd { margin: 0; font-size: 1.75rem; font-weight: 700; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.key small { display: block; color: var(--dim); font-size: .875rem; font-weight: 400; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { color: var(--dim); font-weight: 600; vertical-align: bottom; text-align: right; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
td { text-align: right; white-space: nowrap; }
th.text, td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
th:first-child, td:first-child { padding-left: 0; }
.checks { table-layout: fixed; min-width: 52rem; }
.checks td { vertical-align: top; }
.checks th:nth-child(1) { width: 16%; } .checks th:nth-child(3) { width: 20%; }
.checks th:nth-child(4) { width: 7rem; } .checks th:nth-child(5) { width: 24%; }
.verdict { font-weight: 600; }
.verdict::before { content: "✓ "; }
.verdict.failed { background: light-dark(#fee2e2, #450a0a); color: light-dark(#991b1b, #fca5a5); }
.verdict.failed::before { content: "✗ "; }
.verdict.passed { color: light-dark(#166534, #86efac); }
.verdict.not-done { color: light-dark(#854d0e, #fde047); }
.verdict.not-done::before { content: "– "; }
.note { color: var(--dim); font-size: .875rem; margin: .5rem 0 0; max-width: 60rem; }
#as-in-yao .note, #operating-point .note:first-of-type { background: var(--warn); color: var(--text);
  padding: .5rem .75rem; border-radius: .375rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1.5rem;
  align-items: start; }
figure { margin: 0; }
figure:last-child { grid-column: 1 / -1; }
figure img { width: 100%; height: auto; border-radius: .5rem; border: 1px solid var(--line);
  background: #fff; }
figcaption { color: var(--dim); font-size: .875rem; margin-top: .25rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; color: var(--dim);
  font-size: .875rem; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; } body { max-width: none; padding: 0; font-size: 9pt; }
  section, figure, tr { break-inside: avoid; } h2 { break-after: avoid; } .wide { overflow: visible; }
  .checks { min-width: 0; }
  th, td { padding: .15rem .35rem; } table { font-size: 8pt; } @page { margin: 15mm; } }
"""
