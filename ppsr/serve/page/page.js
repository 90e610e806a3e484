// The page of `ppsr serve`. It uses the HTTP interface alone: what it does, a program can do too.
const TEXTS = {
  en: {
    intro: "Images of up to {pixels} megapixels and {size} MiB. They stay on the machine that runs this page.",
    choose: "Choose images or drop them here",
    model: "Model",
    about: "{network}, {scale}× larger, for: {purpose}",
    download: " (download: {size} MB)",
    strength: "Denoising strength",
    strengthInfo: "1 removes most noise, 0 keeps most",
    run: "Upscale",
    stop: "Stop",
    options: "Options",
    outscale: "Enlarge by",
    outscaleInfo: "Empty: the scale of the model",
    format: "Format",
    quality: "Quality of JPEG and WebP",
    tile: "Tile size (pixels)",
    tileInfo: "Smaller tiles take less memory",
    ensemble: "Self-ensemble",
    ensembleInfo: "Slightly better, 8 times slower",
    hint: "The images appear here, then a comparison before and after.",
    before: "Input",
    after: "Result",
    zoom: "Actual size",
    fit: "Fit",
    none: "Choose an image first.",
    ready: "Ready",
    unseen: "The browser cannot show this format.",
    uploading: "Uploading",
    waiting: "Waiting for other images",
    downloading: "Downloading the model, {done} of {total} MB",
    loading: "Loading",
    computing: "Tile {done} of {total}",
    left: ", {seconds} s left",
    finished: "{before} → {after} in {seconds} s with {model}",
    warnings: ". Note: {text}",
    stopped: "Stopped.",
    save: "Download",
    offline: "The service does not answer. Is it still running?",
  },
  zh: {
    intro: "图片不超过 {pixels} 百万像素、{size} MiB，只保存在运行本页面的机器上。",
    choose: "选择图片，或拖放到此处",
    model: "模型",
    about: "{network}，放大 {scale} 倍，用途：{purpose}",
    download: "（需下载 {size} MB）",
    strength: "降噪强度",
    strengthInfo: "1：去除最多噪声；0：保留最多",
    run: "放大",
    stop: "停止",
    options: "选项",
    outscale: "放大倍数",
    outscaleInfo: "留空：使用模型的倍数",
    format: "格式",
    quality: "JPEG 与 WebP 的质量",
    tile: "分块大小（像素）",
    tileInfo: "分块越小，占用内存越少",
    ensemble: "自集成",
    ensembleInfo: "效果略好，耗时 8 倍",
    hint: "图片显示在这里，完成后可对比前后效果。",
    before: "原图",
    after: "结果",
    zoom: "实际大小",
    fit: "适应窗口",
    none: "请先选择图片。",
    ready: "就绪",
    unseen: "浏览器无法显示这种格式。",
    uploading: "正在上传",
    waiting: "正在等待其他图片",
    downloading: "正在下载模型，{done} / {total} MB",
    loading: "正在载入",
    computing: "第 {done} 块，共 {total} 块",
    left: "，剩余 {seconds} 秒",
    finished: "{before} → {after}，用时 {seconds} 秒，模型 {model}",
    warnings: "。注意：{text}",
    stopped: "已停止。",
    save: "下载",
    offline: "服务没有响应，是否仍在运行？",
  },
};
// In English the message of the service is shown.
const ERRORS = {
  bad_option: "有选项超出允许的范围：{message}",
  too_many_requests: "正在处理的图片已达上限，请稍后再试",
  too_many_bytes: "文件超过 {max_bytes} 字节的上限",
  not_an_image: "文件不是可以读取的图片，请使用 PNG、JPEG、WebP、BMP、TIFF 或 GIF",
  too_many_pixels: "像素过多：图片不超过 {max_pixels}，结果不超过 {max_output_pixels}，请换一张较小的图片",
  time_limit: "计算超过 {max_seconds} 秒的上限，请换一张较小的图片",
  out_of_memory: "内存不足，请换一张较小的图片",
  no_download: "模型无法下载：{message}",
  cannot_upscale: "无法放大这张图片：{message}",
};
const PURPOSES = {
  photo: "照片", anime: "动漫", video: "视频", classical: "经典（双三次退化）", compression: "压缩失真", light: "轻量",
  GAN: "GAN", pretrained: "预训练", denoising: "去噪", cartoon: "卡通", noisy: "含噪", telephone: "手机", keeps: "保留",
  noise: "噪声",
};
const SHOWN_PAUSE = 200; // ms between two looks at the progress

const language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const $ = (id) => document.getElementById(id);
const fill = (text, values = {}) => text.replace(/{(\w+)}/g, (_, key) => values[key]);
const say = (key, values) => fill(TEXTS[language][key], values);
const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

const items = []; // {file, url, row, text, result}
let selected = null;
let models = [];
let limits = {};
let running = null; // AbortController

for (const element of document.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.json()).message);
  return answer.json();
}

async function listModels() {
  const chosen = $("model").value;
  models = await ask("api/models");
  $("model").replaceChildren(
    ...models.map((model) => {
      const size = model.download ? say("download", { size: megabytes(model.download) }) : "";
      return new Option(model.name + size, model.name);
    }),
  );
  if (chosen) $("model").value = chosen;
  describeModel();
}

function describeModel() {
  const model = models.find((one) => one.name === $("model").value);
  const purpose = language === "zh" ? model.purpose.replace(/\w+/g, (word) => PURPOSES[word] ?? word) : model.purpose;
  $("about").textContent = say("about", { ...model, purpose }).replace(/[,，][^,，]*[:：] ?$/, "");
  $("strength-field").hidden = !model.strength;
}

function showStatus(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function note(item, text, bad = false) {
  Object.assign(item, { text, bad });
  const state = item.row.querySelector(".state");
  state.textContent = item.result && !bad ? "✓" : text;
  state.classList.toggle("bad", bad);
  if (item === selected) showStatus(text, bad);
}

function add(files) {
  for (const file of files) {
    const item = { file, url: URL.createObjectURL(file), row: document.createElement("li"), result: null };
    const image = Object.assign(new Image(), { src: item.url, alt: "" });
    image.onerror = () => (image.hidden = true);
    const name = Object.assign(document.createElement("span"), { className: "file", textContent: file.name });
    item.row.append(image, name, Object.assign(document.createElement("span"), { className: "state" }));
    item.row.addEventListener("click", () => select(item));
    $("list").append(item.row);
    items.push(item);
    note(item, say("ready"));
    if (!selected || !running) select(item);
  }
}

function select(item) {
  selected = item;
  for (const one of items) one.row.classList.toggle("selected", one === item);
  $("hint").hidden = true;
  $("stage").hidden = false;
  $("stage").classList.toggle("compared", Boolean(item.result));
  for (const id of ["after", "slider", "before-name", "after-name"]) $(id).hidden = !item.result;
  $("before").src = item.url;
  if (item.result) $("after").src = item.result.url;
  $("zoom").disabled = !item.result;
  showStatus(item.text, item.bad);
  layOut();
}

function layOut() {
  const [before, after, viewer] = [$("before"), $("after"), $("viewer")];
  const shown = selected?.result && after.naturalWidth ? after : before;
  const [width, height] = [shown.naturalWidth, shown.naturalHeight];
  if (!width) return;
  const actual = $("zoom").dataset.on && selected.result;
  const factor = actual
    ? 1 / devicePixelRatio
    : Math.min(viewer.clientWidth / width, viewer.clientHeight / height, selected.result ? 8 : 4);
  Object.assign($("stage").style, { width: `${width * factor}px`, height: `${height * factor}px` });
}

function cannotShow() {
  $("stage").hidden = true;
  $("hint").hidden = false;
  $("hint").textContent = say("unseen");
}

async function watch(item, job, signal) {
  let begun = 0;
  while (!signal.aborted && !item.done) {
    const { job: found } = await ask(`api/status?job=${job}`).catch(() => ({ job: null }));
    if (found && !item.done && !signal.aborted) {
      let text = say(found.stage, found);
      if (found.stage === "downloading")
        text = say(found.stage, { done: megabytes(found.done), total: megabytes(found.total) });
      if (found.stage === "computing") {
        begun ||= performance.now();
        const seconds = ((performance.now() - begun) / 1000 / found.done) * (found.total - found.done);
        if (found.done && Number.isFinite(seconds)) text += say("left", { seconds: Math.ceil(seconds) });
      }
      $("progress").value = found.total ? found.done / found.total : 0;
      note(item, text);
    }
    await new Promise((resolve) => setTimeout(resolve, SHOWN_PAUSE));
  }
}

function options(job) {
  const query = new URLSearchParams({ job, model: $("model").value });
  for (const id of ["format", "quality", "tile"]) query.set(id, $(id).value);
  if ($("outscale").value) query.set("outscale", $("outscale").value);
  if ($("ensemble").checked) query.set("ensemble", "true");
  if (!$("strength-field").hidden) query.set("strength", $("strength").value);
  return query;
}

function explain(error) {
  const known = language === "zh" && ERRORS[error.error];
  const values = { ...error };
  for (const [name, value] of Object.entries(limits)) values[name] = value.toLocaleString("en");
  return known ? fill(known, values) : error.message;
}

async function upscale(item, controller) {
  const job = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16)).join("-");
  item.done = false;
  item.result = null;
  select(item);
  note(item, say("uploading"));
  watch(item, job, controller.signal);
  try {
    const answer = await fetch(`api/upscale?${options(job)}`, {
      method: "POST",
      body: item.file,
      signal: controller.signal,
    });
    if (!answer.ok) return note(item, explain(await answer.json()), true);
    const report = JSON.parse(answer.headers.get("x-ppsr-report"));
    const [, ending] = answer.headers.get("content-disposition").match(/"image(.*)"/);
    item.result = { url: URL.createObjectURL(await answer.blob()), report };
    item.done = true;
    const link = Object.assign(document.createElement("a"), {
      href: item.result.url,
      download: item.file.name.replace(/\.\w+$/, "") + ending,
      textContent: say("save"),
    });
    item.row.querySelector("a")?.remove();
    item.row.append(link);
    const [before, after] = [report.size, report.output_size].map((size) => size.join(" × "));
    const text = say("finished", { before, after, seconds: report.seconds.toFixed(1), model: report.model });
    note(item, text + report.warnings.map((warning) => say("warnings", { text: warning })).join(""));
    if (item === selected) select(item);
  } catch (error) {
    note(item, controller.signal.aborted ? say("stopped") : say("offline"), !controller.signal.aborted);
  } finally {
    item.done = true;
    $("progress").value = item.result ? 1 : 0;
  }
}

async function run(event) {
  event.preventDefault();
  if (!items.length) return showStatus(say("none"), true);
  const fresh = items.filter((item) => !item.result);
  const controller = (running = new AbortController());
  $("run").disabled = true;
  $("stop").disabled = false;
  for (const item of fresh.length ? fresh : items) if (!controller.signal.aborted) await upscale(item, controller);
  running = null;
  $("run").disabled = false;
  $("stop").disabled = true;
  await listModels().catch(() => {});
}

$("form").addEventListener("submit", run);
$("form").addEventListener("invalid", () => ($("options").open = true), true);
$("stop").addEventListener("click", () => running?.abort());
$("files").addEventListener("change", () => {
  add($("files").files);
  $("files").value = "";
});
for (const kind of ["dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") add(event.dataTransfer.files);
  });
$("model").addEventListener("change", describeModel);
$("strength").addEventListener("input", () => (document.querySelector("output").textContent = $("strength").value));
$("slider").addEventListener("input", () => $("stage").style.setProperty("--at", `${$("slider").value}%`));
$("zoom").addEventListener("click", () => {
  $("zoom").dataset.on = $("zoom").dataset.on ? "" : "1";
  $("zoom").textContent = say($("zoom").dataset.on ? "fit" : "zoom");
  layOut();
});
for (const id of ["before", "after"]) {
  $(id).addEventListener("load", layOut);
  $(id).addEventListener("error", cannotShow);
}
addEventListener("resize", layOut);

ask("api/status")
  .then((status) => {
    limits = status.limits;
    const size = (limits.max_bytes / 2 ** 20).toFixed(0);
    $("intro").textContent = say("intro", { pixels: (limits.max_pixels / 1e6).toFixed(1), size });
    return listModels();
  })
  .catch(() => showStatus(say("offline"), true));
