// The page of the lab: its frame and its style sheet, as a browser reads them. @NAMES@ are filled in.
#pragma once

#include <string_view>

namespace llama_zero::lab {

inline constexpr std::string_view kPageTemplate = R"html(<!DOCTYPE html>
<html lang="en" xmlns="http://www.w3.org/1999/xhtml">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>The lab: Alpaca with ZeRO</title>
<style>@STYLE@</style>
</head>
<body>
<header>
<p class="program">llama_zero @VERSION@</p>
<h1>The lab: fine-tuning on Alpaca with ZeRO</h1>
<dl>
<div><dt>Model</dt><dd>@MODEL@</dd></div>
<div><dt>Device</dt><dd>@DEVICE@</dd></div>
<div><dt>Ranks</dt><dd>@RANKS@</dd></div>
</dl>
@TILES@<nav aria-label="Parts"><ol>
@LINKS@</ol></nav>
</header>
<main>
@SECTIONS@</main>
<footer><p>MB and GB on this page are 10<sup>6</sup> and 10<sup>9</sup> bytes; <code>llama_zero plan</code> prints units of
2<sup>20</sup> and 2<sup>30</sup>. Memory is that of one rank. Every table is also a CSV file in this folder.</p></footer>
</body>
</html>
)html";

// Colours c0 to c6 differ in lightness as well as in hue, so that they are told apart without colour vision.
inline constexpr std::string_view kPageStyle = R"css(
:root {
  --paper: #ffffff; --panel: #f5f7f9; --ink: #1a2129; --soft: #54606c; --rule: #d5dbe1; --link: #0b5cad;
  --c0: #0b5cad; --c1: #d9730d; --c2: #1b8a5a; --c3: #9b3fa5; --c4: #8a6d00; --c5: #7b8794; --c6: #c3cbd3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161b; --panel: #1b2128; --ink: #e6eaee; --soft: #a3aeb9; --rule: #333c46; --link: #79b8ff;
    --c0: #79b8ff; --c1: #ffa657; --c2: #56d39b; --c3: #d9a0e3; --c4: #e3c84c; --c5: #8b97a3; --c6: #4d5965;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: clamp(1.6rem, 5vw, 2.3rem); line-height: 1.2; margin: 0 0 1rem; letter-spacing: -0.015em; }
h2 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 0.75rem; }
h3 { font-size: 1.12rem; margin: 2.25rem 0 0.4rem; }
p { margin: 0.5rem 0 1rem; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, .wide:focus-visible, pre:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { display: inline-block; max-width: 100%; line-height: 1.35; font-size: 0.88em; background: var(--panel); padding: 0.1em 0.3em; border-radius: 3px; }
pre { margin: 0.75rem 0; padding: 0.9rem 1rem; font-size: 0.8rem; line-height: 1.45; background: var(--panel);
  border: 1px solid var(--rule); border-radius: 6px; overflow-x: auto; }
.command { white-space: normal; }
.command span { display: inline-block; max-width: 100%; overflow-wrap: anywhere; }
section { margin-top: 3.25rem; padding-top: 1.75rem; border-top: 1px solid var(--rule); }
.program { margin: 0; color: var(--soft); font-size: 0.9rem; }
dl { margin: 0 0 1.5rem; color: var(--soft); font-size: 0.95rem; }
dl div { display: flex; gap: 0.75rem; }
dt { flex: 0 0 3.75rem; }
dd { margin: 0; color: var(--ink); overflow-wrap: anywhere; min-width: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: 0.75rem; list-style: none;
  padding: 0; margin: 0 0 1.5rem; }
.tiles a { display: block; height: 100%; padding: 0.9rem 1rem; background: var(--panel); border: 1px solid var(--rule);
  border-radius: 8px; color: inherit; text-decoration: none; }
.tiles a:hover { border-color: var(--link); }
.tiles strong { display: block; font-size: 1.35rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 0.9rem; line-height: 1.4; display: block; }
nav ol { display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; margin: 0; padding: 0; list-style: none; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; margin: 1rem 0 1.25rem; }
figure { margin: 0; padding: 0.9rem 1rem; border: 1px solid var(--rule); border-radius: 8px; min-width: 0; }
.charts figure:last-child:nth-child(odd) { grid-column: 1 / -1; }
figcaption { font-weight: 600; font-size: 0.95rem; line-height: 1.4; }
.legend { display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; list-style: none; margin: 0.3rem 0 0; padding: 0;
  font-size: 0.85rem; color: var(--soft); }
.key { display: inline-block; width: 0.85rem; height: 0.85rem; margin-right: 0.4rem; border-radius: 2px; vertical-align: -0.1rem;
  background: var(--c); }
.key.dashed { height: 0; border-radius: 0; border-top: 3px dashed var(--c); background: none; width: 1.3rem; vertical-align: 0.25rem; }
.key.dot { border-radius: 50%; }
svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0.6rem auto 0; overflow: visible; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); }
.c3 { --c: var(--c3); } .c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); }
.bar { fill: var(--c); }
.mark { fill: var(--c); }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
.line.dashed { stroke-dasharray: 6 5; }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis text { fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums; }
.axis .name, .axis.value text { fill: var(--ink); }
.axis.value text { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
.table { border: 1px solid var(--rule); border-radius: 8px; overflow: hidden; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
.title { margin: 0; max-width: none; font-weight: 600; font-size: 0.95rem; line-height: 1.4; padding: 0.7rem 0.9rem; }
th, td { padding: 0.38rem 0.9rem; text-align: left; vertical-align: top; border-top: 1px solid var(--rule); }
th { background: var(--panel); color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:not(.number) { white-space: nowrap; }
td:not(.number) { min-width: 9.5rem; overflow-wrap: anywhere; }
td:not(.number):first-child { min-width: 12.5rem; }
.number { text-align: right; white-space: nowrap; }
th.number { white-space: normal; }
tbody tr:hover { background: var(--panel); }
.file { margin: 0.25rem 0 1.25rem; font-size: 0.82rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; font-size: 0.95rem; margin-bottom: 0.5rem; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--soft); font-size: 0.88rem; }
@media (max-width: 40rem) { body { padding: 1.25rem 1rem 3rem; } figure { padding: 0.75rem; } .axis text { font-size: 13px; } }
@media print { figure, .table { break-inside: avoid; } nav { display: none; } }
)css";

}  // namespace llama_zero::lab
