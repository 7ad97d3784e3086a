// Draws every chart; its tables, which are there without this script, fold up behind it.
const start = async (figure) => {
  const behind = figure.querySelector(":scope > details");
  const stage = make("div", { className: "stage" });
  try {
    const data = await dataOf(figure);
    figure.prepend(stage);
    behind.open = false;
    if (kinds[figure.dataset.kind](stage, data, figure) === "whole") behind.remove();
  } catch (error) {
    stage.remove();
    behind.open = true;
    figure.append(make("p", { className: "soft" }, `Not drawn: ${error.message}. The table is complete as far as it says.`));
    if (!(String(error.message).includes("DecompressionStream"))) console.error(error);
  }
};

for (const block of document.querySelectorAll(".command")) {
  const copy = button("Copy", async () => {
    const text = block.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block.querySelector("code"));
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  }, { "aria-label": "Copy the command" });
  if (navigator.clipboard || getSelection) block.append(copy);
}

const repaint = () => painters.forEach((again) => again(true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
addEventListener("beforeprint", () => { root.classList.add("print"); repaint(); });
addEventListener("afterprint", () => { root.classList.remove("print"); repaint(); });

Promise.all(Array.from(document.querySelectorAll("figure.chart"), start)).then(() => {
  root.dataset.drawn = "true";
  performance.mark("drawn");
});
