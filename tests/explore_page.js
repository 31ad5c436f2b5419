// node explore_page.js PAGE < commands: runs a page's scripts in a document that is only pretended, without any network.
// A command {on, type, ...} is an event for the element of that id (or the text of a button); after the page has been
// painted first, and after each event, a line of JSON says what is to be seen: u, the picture's greys, the words.
"use strict";
const fs = require("fs");
const vm = require("vm");

const page = fs.readFileSync(process.argv[2], "utf8");
const script = (id) => page.match(new RegExp(`<script[^>]*id="${id}"[^>]*>([^]*?)</script>`))[1];
const elements = new Map();
const buttons = new Map();

function element(kind) {
  const listeners = {};
  let image = null;
  const pen = {
    createImageData: (width, height) => ({ width, height, data: new Uint8ClampedArray(4 * width * height) }),
    putImageData: (drawn) => { image = drawn; },
  };
  return {
    kind,
    textContent: "",
    append() {},
    addEventListener(type, listener) { listeners[type] = listener; },
    fire(type, event) { listeners[type]({ preventDefault() {}, ...event }); },
    setPointerCapture() {},
    getBoundingClientRect: () => ({ left: 10, top: 20, width: 300, height: 300 }),
    getContext: () => new Proxy(pen, { get: (known, name) => known[name] || (() => {}), set: () => true }),
    greys: () => Array.from(image.data).filter((_, i) => i % 4 === 0),
    opaque: () => Array.from(image.data).every((value, i) => i % 4 !== 3 || value === 255),
  };
}
const document = {
  getElementById(id) {
    if (!page.includes(`id="${id}"`)) throw new Error(`the page has no element ${id}`);
    if (!elements.has(id)) elements.set(id, element(id));
    return elements.get(id);
  },
  createElement(kind) {
    const made = element(kind);
    if (kind === "button") setTimeout(() => buttons.set(made.textContent, made));
    return made;
  },
};
document.getElementById("model").textContent = script("model");
Object.assign(document.getElementById("pad"), { width: 704, height: 704 });
const world = vm.createContext({
  document,
  atob,
  getComputedStyle: () => ({ getPropertyValue: () => "black" }),
  matchMedia: () => ({ addEventListener() {} }),
});
vm.runInContext(script("decoder"), world);
vm.runInContext(script("page"), world);

function show() {
  const picture = document.getElementById("picture");
  const u = vm.runInContext("Array.from(u)", world);
  const now = document.getElementById("now").textContent;
  console.log(JSON.stringify({ u, greys: picture.greys(), opaque: picture.opaque(), now }));
}
setTimeout(() => {
  show();
  for (const { on, type, ...event } of JSON.parse(fs.readFileSync(0, "utf8"))) {
    if (type === "change") document.getElementById(on).value = event.value;
    (buttons.get(on) || document.getElementById(on)).fire(type, event);
    show();
  }
});
