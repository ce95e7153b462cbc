const table = document.querySelector("table"), body = table.tBodies[0], rows = [...body.rows];
const words = document.getElementById("words"), state = document.getElementById("state");
const told = document.getElementById("told");
const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));

function show() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const row of rows) {
    const fits = (!state.value || row.dataset.state === state.value) && wanted.every(w => texts.get(row).includes(w));
    row.hidden = !fits;
    n += fits;
  }
  told.textContent = `${n} of ${rows.length} nights`;
}

function value(row, place) {
  const cell = row.cells[place];
  return cell.dataset.v === undefined ? cell.textContent.trim().toLowerCase() : cell.dataset.v === "" ? null : +cell.dataset.v;
}

function sort(head) {
  const place = head.cellIndex, falls = head.getAttribute("aria-sort") === "ascending", sign = falls ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
  rows.sort((a, b) => {
    const x = value(a, place), y = value(b, place);
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === "number" ? x - y : x.localeCompare(y, undefined, {numeric: true}));
  });
  body.append(...rows);
}

for (const button of table.tHead.querySelectorAll("button")) button.onclick = () => sort(button.parentElement);
words.oninput = state.onchange = show;
document.addEventListener("keydown", event => {
  if (event.key === "/" && event.target !== words) { event.preventDefault(); words.focus(); }
  if (event.key === "Escape") { words.value = ""; state.value = ""; show(); }
});
document.getElementById("tools").hidden = false;
show();
