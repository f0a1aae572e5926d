/** What tests ask of the whole page at once; evaluated within it. */
({
  /**
   * Of each text that can be seen: the ratio of its colour to what lies behind it (WCAG 2.2, 1.4.3), and the text.
   * Disabled controls are exempt there.
   */
  contrasts() {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
      return [red, green, blue, alpha / 255];
    };
    const over = ([red, green, blue, alpha], under) =>
      [red, green, blue].map((value, index) => value * alpha + under[index] * (1 - alpha));
    const luminance = (colour) => {
      const [red, green, blue] = colour
        .map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (element) => {
      const colour = rgba(getComputedStyle(element ?? document.body).backgroundColor);
      return colour[3] === 1 || element === null ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
    };
    const results = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (walker.currentNode.data.trim() === "" || !element.checkVisibility({ visibilityProperty: true })) continue;
      if (element.closest(".visually-hidden, .skip, noscript, :disabled")) continue;
      const back = behind(element);
      const ink = rgba(getComputedStyle(element).color);
      for (let at = element; at !== null; at = at.parentElement) ink[3] *= Number(getComputedStyle(at).opacity);
      if (ink[3] === 0) continue;
      const [light, dark] = [luminance(over(ink, back)), luminance(back)].sort((a, b) => b - a);
      results.push([(light + 0.05) / (dark + 0.05), `${element.className || element.tagName}: ${element.textContent}`]);
    }
    return results;
  },

  /** What reaches beyond the window, and what is cut off without an ellipsis. */
  overflowing() {
    const isOver = (element) => {
      if (!element.checkVisibility({ visibilityProperty: true })) return false;
      if (element.closest(".visually-hidden, .skip, svg, input")) return false;
      const { left, right, width } = element.getBoundingClientRect();
      if (width > 0 && (left < -0.5 || right > innerWidth + 0.5)) return true;
      const { overflowX, textOverflow } = getComputedStyle(element);
      const isCut = element.scrollWidth > element.clientWidth + 1 && overflowX !== "visible";
      return isCut && textOverflow !== "ellipsis";
    };
    const names = ({ id, className, tagName }) => id || className || tagName;
    return [...document.querySelectorAll("body *")].filter(isOver).map(names);
  },

  /** Everything that is written on the page, or said of its controls. */
  texts() {
    return [...document.querySelectorAll("body *, title")].flatMap((element) => {
      if (element.closest("noscript, textarea")) return [];
      const nodes = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
      const shown = element.checkVisibility() ? nodes.map((node) => node.data) : [];
      const said = ["aria-label", "title", "placeholder", "alt"].map((name) => element.getAttribute(name) ?? "");
      return [...shown, ...said].filter((text) => text.trim() !== "");
    });
  },

  /** Whether a person can see where the focus is. */
  focusIsVisible() {
    const element = document.activeElement;
    if (element === document.body) return true;
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element.closest(".box") ?? element);
    return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || boxShadow !== "none";
  },

  /** Buttons that are too small for a finger (WCAG 2.2, 2.5.8). */
  smallTargets() {
    const isSmall = (button) => {
      const { width, height } = button.getBoundingClientRect();
      return button.checkVisibility({ visibilityProperty: true }) && Math.min(width, height) < 24;
    };
    return [...document.querySelectorAll("button")].filter(isSmall).map((button) => button.textContent);
  },

  /** How many elements would move by themselves. */
  moving() {
    const moves = (element) => {
      const { transitionDuration, animationName } = getComputedStyle(element);
      return parseFloat(transitionDuration) > 0 || animationName !== "none";
    };
    return [...document.querySelectorAll("*")].filter(moves).length;
  },

  /** Of each message: the side of the page on which its text begins, and the size of its letters. */
  beginnings() {
    return [...document.querySelectorAll("#log .text")].map((text) => {
      const range = document.createRange();
      range.setStart(text.firstChild, 0);
      range.setEnd(text.firstChild, 1);
      const { left, right } = text.getBoundingClientRect();
      const side = range.getBoundingClientRect().left > (left + right) / 2 ? "right" : "left";
      return [side, parseFloat(getComputedStyle(text).fontSize)];
    });
  },

  /** Keeps in `window.mostMessages` the largest number of messages that were in the log at any time. */
  watch() {
    const log = document.getElementById("log");
    const count = () => {
      window.mostMessages = Math.max(window.mostMessages ?? 0, log.querySelectorAll(".message").length);
    };
    count();
    new MutationObserver(count).observe(log, { childList: true });
  },
});
