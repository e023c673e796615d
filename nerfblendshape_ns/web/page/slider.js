// A slider with its name and value.

/** Steps of a slider between its ends. */
const STEPS = 200;

/**
 * @param {{name: string, low: number, high: number, value: number, title?: string, onInput: (value: number) => void}} options
 */
export function makeSlider({ name, low, high, value, title = "", onInput }) {
  const row = document.createElement("label");
  row.className = "slider";
  row.title = title || name;
  const label = document.createElement("span");
  label.textContent = name;
  const input = document.createElement("input");
  Object.assign(input, { type: "range", min: String(low), max: String(high), step: "any", value: String(value) });
  input.setAttribute("aria-label", name);
  // A screen reader has the value from the slider; of an output it would read every frame that is played.
  const output = document.createElement("output");
  output.setAttribute("aria-hidden", "true");
  row.append(label, input, output);
  const digits = high - low > 0.2 ? 2 : 4;
  const show = (shown) => {
    output.textContent = shown.toFixed(digits);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => {
    show(Number(input.value));
    onInput(Number(input.value));
  });
  // With step "any" the arrow keys move by a whole unit.
  input.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const { min, max } = input;
    input.value = String(Number(input.value) + (way * (Number(max) - Number(min))) / STEPS);
    input.dispatchEvent(new Event("input"));
  });
  const set = (shown) => {
    if (Math.abs(Number(input.value) - shown) > 1e-6) input.value = String(shown);
    show(shown);
  };
  set(value);
  return {
    row,
    set,
    /** @param {number} from @param {number} to */
    stretch: (from, to) => Object.assign(input, { min: String(from), max: String(to) }),
  };
}
