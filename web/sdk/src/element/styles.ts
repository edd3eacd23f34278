/**
 * How the element looks. Colours, radius and font are custom properties (`--callbox-…`), its pieces are parts. Put in as
 * a constructed sheet: a page's `style-src` has nothing to allow.
 * @internal
 */
export const STYLES = `
:host {
  --_accent: var(--callbox-accent, #0b6b3a);
  --_danger: var(--callbox-danger, #b3261e);
  --_surface: var(--callbox-surface, #ffffff);
  --_sunken: var(--callbox-sunken, #f2f4f3);
  --_text: var(--callbox-text, #17201b);
  --_muted: var(--callbox-muted, #55625b);
  --_line: var(--callbox-line, #d5dcd8);
  --_radius: var(--callbox-radius, 16px);
  display: block;
  max-width: 24rem;
  color: var(--_text);
  font: 400 1rem/1.45 var(--callbox-font, system-ui, sans-serif);
  color-scheme: light;
}
@media (prefers-color-scheme: dark) {
  :host(:not([theme="light"])) {
    --_accent: var(--callbox-accent, #1a7a48);
    --_danger: var(--callbox-danger, #c53a32);
    --_surface: var(--callbox-surface, #151b18);
    --_sunken: var(--callbox-sunken, #1f2723);
    --_text: var(--callbox-text, #ecf1ee);
    --_muted: var(--callbox-muted, #a3b0a9);
    --_line: var(--callbox-line, #37433c);
    color-scheme: dark;
  }
}
:host([theme="dark"]) {
  --_accent: var(--callbox-accent, #1a7a48);
  --_danger: var(--callbox-danger, #c53a32);
  --_surface: var(--callbox-surface, #151b18);
  --_sunken: var(--callbox-sunken, #1f2723);
  --_text: var(--callbox-text, #ecf1ee);
  --_muted: var(--callbox-muted, #a3b0a9);
  --_line: var(--callbox-line, #37433c);
  color-scheme: dark;
}
:host([hidden]), [hidden] { display: none !important; }
*, *::before, *::after { box-sizing: border-box; }
.card {
  display: flex; flex-direction: column; gap: .75rem;
  padding: 1rem; border: 1px solid var(--_line); border-radius: var(--_radius); background: var(--_surface);
}
.head { display: flex; align-items: center; gap: .6rem; min-height: 1.75rem; }
.light { flex: none; width: .7rem; height: .7rem; border-radius: 50%; background: var(--_muted); }
[data-state="answered"] .light { background: var(--_accent); }
[data-state="microphone"] .light, [data-state="connecting"] .light, [data-state="ringing"] .light,
[data-state="reconnecting"] .light { background: #d08700; animation: pulse 1.2s ease-in-out infinite; }
@keyframes pulse { 50% { opacity: .25; } }
.status { margin: 0; font-weight: 600; flex: 1; }
.time { color: var(--_muted); font-variant-numeric: tabular-nums; }
.levels { display: grid; gap: 3px; width: 3rem; }
.levels span { height: 4px; border-radius: 2px; background: var(--_sunken); overflow: hidden; }
.levels span::after {
  content: ""; display: block; height: 100%; border-radius: 2px; background: var(--_accent);
  transform: scaleX(var(--level, 0)); transform-origin: 0 0; transition: transform .1s linear;
}
.card:not(.busy) .levels { visibility: hidden; }
.notice { margin: 0; padding: .6rem .75rem; border-left: 4px solid var(--_danger); background: var(--_sunken); border-radius: 4px; }
.captions {
  margin: 0; padding: .25rem .75rem; height: 11rem; overflow-y: auto; overscroll-behavior: contain;
  background: var(--_sunken); border-radius: calc(var(--_radius) / 2);
}
.captions:empty::before { content: attr(data-empty); display: block; padding: .4rem 0; color: var(--_muted); }
.captions p { margin: 0; padding: .35rem 0; overflow-wrap: anywhere; }
.captions .who { display: block; font-size: .8rem; font-weight: 600; color: var(--_muted); }
.captions .caller { text-align: end; }
.captions .guessed { opacity: .7; }
.keypad { display: grid; grid-template-columns: repeat(3, 1fr); gap: .4rem; }
button, select { font: inherit; color: inherit; }
button {
  min-height: 2.9rem; padding: .4rem .9rem; border: 1px solid var(--_line); border-radius: calc(var(--_radius) / 2);
  background: var(--_surface); cursor: pointer; touch-action: manipulation; -webkit-tap-highlight-color: transparent;
}
button:hover { background: var(--_sunken); }
button:active { transform: translateY(1px); }
button:disabled { opacity: .5; cursor: default; }
button:focus-visible, select:focus-visible, .captions:focus-visible, summary:focus-visible {
  outline: 3px solid var(--_accent); outline-offset: 2px;
}
button[aria-pressed="true"], button[aria-expanded="true"] { background: var(--_sunken); border-color: var(--_muted); }
.key { font-size: 1.25rem; font-weight: 600; }
.key.down { background: var(--_accent); color: #fff; }
.call { min-height: 3.2rem; border-color: transparent; color: #fff; background: var(--_accent); font-weight: 600; }
.call:hover { background: var(--_accent); filter: brightness(1.08); }
.busy .call, .busy .call:hover { background: var(--_danger); }
.tools { display: flex; flex-wrap: wrap; gap: .4rem; }
.tools button { flex: 1 1 auto; }
details { color: var(--_muted); }
summary { cursor: pointer; padding: .25rem 0; }
label { display: block; margin: .35rem 0; }
select {
  display: block; width: 100%; min-height: 2.6rem; padding: .3rem .5rem; color: var(--_text);
  background: var(--_surface); border: 1px solid var(--_line); border-radius: calc(var(--_radius) / 2);
}
@media (max-width: 30rem) {
  :host { max-width: none; }
  .key { min-height: 3.4rem; }
}
@media (prefers-reduced-motion: reduce) {
  .light { animation: none !important; }
  button:active { transform: none; }
  .levels span::after { transition: none; }
}
@media (forced-colors: active) {
  .light, .levels span::after { forced-color-adjust: none; background: CanvasText; }
  .call, .key.down { border-color: ButtonText; }
}
`;
