// Every word of the page, in English and Chinese, and the ways numbers are written.

/** @type {Record<string, Record<string, string>>} */
const STRINGS = {
  en: {
    tagline: "Answers in a trice, on your own machine.",
    chat: "Chat",
    classify: "Classify",
    model: "Model",
    models: "Models",
    settings: "Settings",
    close: "Close",
    choose_model: "Choose a model",
    no_model: "No model",

    stories_name: "Storyteller, a 3 MB demo",
    stories_about: "Continues children's stories. Built in, made by this project; it knows nothing else.",
    sentiment_name: "Sentiment, a 2 MB demo",
    sentiment_about: "Tells praise from complaint in short English reviews. Built in, made by this project.",
    intent_name: "Intent, a 6 MB demo",
    intent_about: "Knows 226 things that people ask an assistant or a bank for. English. Built in, made by this project.",
    embed_name: "Meaning, 6 MB",
    embed_about: "Compares meanings: classify by labels of your own. English. Built in, made by this project.",
    smollm_about: "Short answers, rewriting, simple questions. English.",
    qwen_about: "Better answers, English, Chinese and 27 other languages.",
    minilm_about: "Compares meanings: classify by labels of your own. English.",
    built_in: "Built in",
    real_models: "Real models from the hub",
    use: "Use",
    download: "Download {size}",
    in_use: "In use",
    for_chat: "for chat",
    for_classify: "to classify",
    on_this_device: "On this device",
    part_of: "{done} of {total}",
    last_used: "last used {date}",
    delete: "Delete",
    delete_model: "Delete {name}",
    delete_sure: "Delete {size}?",
    keep_it: "Keep it",
    go_on_with: "Go on with {name}",
    use_model: "Use {name}",
    kept_total: "{used} of the {quota} that this browser grants this page.",
    hub_asking: "Asking the hub…",
    hub_files: "{n} models in {repo}:",
    mirror_in_use: "from {mirror}",
    tokens_about: "about {n} tokens/s here",
    fits: "fits this device",
    may_not_fit: "may be too large for this device",
    run_unkept: "Run it without keeping it",
    open_file: "Open a file",
    open_folder: "Open a folder",
    file_help: "A .gguf file, or a folder with config.json, tokenizer.json and .safetensors, or the head of trice classify --train. It stays on this machine. You can also drop it anywhere on this page.",
    from_hub: "From the hub or an address",
    hub_help: "owner/repo, owner/repo:Q4_K_M, or the address of a .gguf file",
    load: "Load",
    drop_here: "Drop the model here",
    drop_texts: "Drop a file of texts, or a model, here",

    stage_opening: "Opening {name}",
    stage_waiting: "Another tab is downloading {name}: waiting for it",
    stage_downloading: "Downloading {name} · {done} of {total}",
    stage_mending: "Fetching a damaged piece of {name} again ({done} of {total})",
    stage_reading: "Reading {name} · {done} of {total}",
    stage_compiling: "Compiling {done} of {total} shaders",
    stage_ready: "Ready",

    message: "Message",
    message_hint: "Ask something",
    story_hint: "Begin a story and let it go on",
    send: "Send",
    stop: "Stop",
    copy: "Copy",
    regenerate: "Regenerate",
    new_chat: "New chat",
    to_newest: "Newest",
    waiting: "Waiting for the model…",
    finished: "Answer finished",
    stopped: "stopped",
    cut_off: "cut at the token limit",
    first_token: "first token {ms}",
    per_second: "{n} tokens/s",
    n_tokens: "{n} tokens",
    you: "You",
    answer: "Answer",
    welcome_chat: "Type below. The model runs on your own GPU; nothing you write leaves this machine.",
    demo_note: "This is a demo that only tells stories. For questions and answers choose a real model.",
    starter_1: "Once upon a time, there was a little robot",
    starter_2: "Lily found a shiny key in the garden",
    starter_3: "One day, a cat and a bird",
    ask_1: "Explain in two sentences why the sky is blue",
    ask_2: "Write a polite note to cancel a meeting",
    ask_3: "Three ideas for a rainy afternoon",

    text: "Text",
    text_hint: "Write or paste a text",
    text_example: "The battery lasts all day and the screen is lovely.",
    labels: "Labels",
    labels_head: "This model's own labels are used. Add labels to compare with instead.",
    labels_own: "Scores compare the meaning of the text with each label.",
    labels_demo: "This model knows its own labels. For labels of yours take",
    more_labels: "and {n} more",
    no_labels: "This model has no labels of its own: add some.",
    add_label: "Add a label",
    add: "Add",
    remove_label: "Remove {label}",
    label_positive: "positive",
    label_negative: "negative",
    result: "Result",
    classified: "{label}, {score}",
    took: "{ms} on {device}",
    unknown_words: "The model does not know {share} of this text's words: the result means little.",
    explain_label: "Show why",
    weighing_words: "Weighing the words…",
    why: "Why “{label}”:",
    speaks_for: "speaks for it",
    speaks_against: "speaks against it",
    strongest_words: "The strongest words, and what they add to “{label}”: {words}.",
    no_strong_word: "No word by itself changes the score.",
    list_comma: ", ",

    many_texts: "Many texts",
    many_hint: "Drop a CSV, TSV, JSONL or text file here: each row gets its label. It stays on this machine.",
    choose_file: "Choose a file",
    close_file: "Close the file",
    reading_file: "Reading {name}…",
    n_rows: "{n} rows",
    column: "Column of texts",
    has_header: "The first line names the columns",
    n_of: "{done} of {total}",
    texts_per_second: "{n} texts/s",
    time_left: "{time} left",
    bytes_per_second: "{size}/s",
    paused: "paused",
    pause: "Pause",
    go_on: "Go on",
    run_again: "Run again",
    save: "Save",
    show: "Show",
    with_words: "with the words",
    all_labels: "all rows",
    no_result: "no result",
    row: "Row",
    label: "Label",
    score: "Score",
    no_match: "No row is like that.",
    page_before: "Back",
    page_after: "Next",
    many_begun: "Labelling {n} texts",
    many_done: "{n} texts are labelled",
    many_took: "{n} texts in {time}",
    n_bad: "{n} without a result",
    many_unknown: "{n} hold many words that the model does not know: their results mean little",
    many_outdated: "The labels or the model have changed. These results ({done}) are of the old ones.",

    temperature: "Temperature",
    top_p: "Top-p",
    max_tokens: "At most tokens",
    seed: "Seed",
    seed_hint: "random",
    system_prompt: "System prompt",
    system_hint: "You are a helpful assistant.",
    hub_mirror: "Hub mirror",
    mirror_help: "Where hub models are fetched from; empty is the hub itself.",
    theme: "Colours",
    theme_auto: "As the system",
    theme_light: "Light",
    theme_dark: "Dark",
    language: "Language",
    sampling: "Answers",
    page: "This page",
    zero_greedy: "0 always takes the most probable token.",

    device: "Device",
    no_device: "No device yet",
    adapter: "Adapter",
    backend: "Backend",
    driver: "Driver",
    kind: "Kind",
    features: "Features",
    half_floats: "16-bit floats",
    subgroups: "subgroups of {size}",
    none: "none",
    max_binding: "Largest binding",
    max_buffer: "Largest buffer",
    max_workgroup: "Workgroup memory",
    max_storage: "Storage buffers",
    browser: "Browser",
    model_in_use: "Model",
    parameters: "{n} weights, {size} on the GPU, context {context}",
    copy_device: "Copy for a bug report",
    self_test: "Check its results",
    self_test_at: "Checking: {done} of {total} types of weights",
    self_test_right: "All {n} products are right; the largest error is {worst}.",
    self_test_wrong: "{n} of {all} products are wrong: {names}. Another browser or driver may help.",

    no_webgpu: "This browser does not offer WebGPU",
    no_webgpu_why: "Trice computes on your graphics processor, and a page reaches it through WebGPU only.",
    no_adapter: "WebGPU found no graphics processor",
    no_adapter_why: "The browser has WebGPU, but it offers no adapter: the driver may be blocked, missing or crashed. Restarting the browser sometimes helps.",
    insecure: "This page was opened over plain http. WebGPU needs https, or an address of this machine such as 127.0.0.1.",
    how_chrome: "Chrome and Edge: version 121 or newer has it on Windows, macOS and Android. On Linux open chrome://flags and turn on “Unsafe WebGPU Support” and “Vulkan”.",
    how_safari: "Safari: version 26 or newer has it on macOS, iOS and iPadOS.",
    how_firefox: "Firefox: version 141 or newer has it on Windows, 145 or newer on a Mac with Apple silicon. Elsewhere use Firefox Nightly with dom.webgpu.enabled in about:config, or another browser.",
    how_native: "Or run the program itself: cargo xtask run, or trice chat in a terminal.",
    this_browser: "Your browser",

    error_Io: "The model could not be fetched: {message}. Check the name and the connection, then try again.",
    error_Format: "This file cannot be used: {message}. Choose another file.",
    error_Unsupported: "This model is not supported yet: {message}. Choose another model.",
    error_Limit: "This is more than the device has: {message}. Choose a smaller model or a shorter text.",
    error_Quota: "There is too little room to keep this model: {message}. Delete another, or run it without keeping it.",
    error_Gpu: "The graphics driver reported a fault: {message}. Load the model again; if it stays, restart the browser.",
    error_Invalid: "That did not work: {message}.",
    error_Crash: "The engine stopped: {message}. Load the model again.",
    error_Cancelled: "Stopped.",
    error_NoWebGpu: "{message}.",
    error_other: "Something went wrong: {message}. Try again.",
    try_again: "Try again",
    choose_another: "Choose a model",
  },
  zh: {
    tagline: "转瞬即答，就在你自己的机器上。",
    chat: "对话",
    classify: "分类",
    model: "模型",
    models: "模型",
    settings: "设置",
    close: "关闭",
    choose_model: "选择模型",
    no_model: "无模型",

    stories_name: "讲故事，3 MB 的演示",
    stories_about: "续写英文儿童故事。内置，由本项目训练；其他一概不知。",
    sentiment_name: "情感，2 MB 的演示",
    sentiment_about: "区分英文短评的褒贬。内置，由本项目训练。",
    intent_name: "意图，6 MB 的演示",
    intent_about: "识别人们向助手或银行提出的 226 种英文请求。内置，由本项目训练。",
    embed_name: "语义，6 MB",
    embed_about: "比较含义：用你自己的标签分类。英文。内置，由本项目训练。",
    smollm_about: "简短回答、改写、简单问题。英文。",
    qwen_about: "回答更好，支持中文、英文及另外 27 种语言。",
    minilm_about: "比较含义：用你自己的标签分类。英文。",
    built_in: "内置",
    real_models: "来自模型库的真实模型",
    use: "使用",
    download: "下载 {size}",
    in_use: "使用中",
    for_chat: "用于对话",
    for_classify: "用于分类",
    on_this_device: "在本设备上",
    part_of: "{done} / {total}",
    last_used: "上次使用 {date}",
    delete: "删除",
    delete_model: "删除 {name}",
    delete_sure: "删除 {size}？",
    keep_it: "保留",
    go_on_with: "继续下载 {name}",
    use_model: "使用 {name}",
    kept_total: "已用 {used}，浏览器给本页的空间为 {quota}。",
    hub_asking: "正在询问模型库…",
    hub_files: "{repo} 中有 {n} 个模型：",
    mirror_in_use: "来自 {mirror}",
    tokens_about: "在此约 {n} 词元/秒",
    fits: "适合本设备",
    may_not_fit: "对本设备可能太大",
    run_unkept: "不保存，直接运行",
    open_file: "打开文件",
    open_folder: "打开文件夹",
    file_help: "一个 .gguf 文件，或含 config.json、tokenizer.json 和 .safetensors 的文件夹，或 trice classify --train 得到的分类头。文件不会离开本机，也可以直接拖到页面上。",
    from_hub: "来自模型库或网址",
    hub_help: "owner/repo、owner/repo:Q4_K_M，或 .gguf 文件的网址",
    load: "加载",
    drop_here: "把模型放在这里",
    drop_texts: "把文本文件或模型放在这里",

    stage_opening: "正在打开 {name}",
    stage_waiting: "另一个标签页正在下载 {name}，请稍候",
    stage_downloading: "正在下载 {name} · {done} / {total}",
    stage_mending: "正在重新获取 {name} 的损坏部分（{done} / {total}）",
    stage_reading: "正在读取 {name} · {done} / {total}",
    stage_compiling: "正在编译着色器 {done} / {total}",
    stage_ready: "就绪",

    message: "消息",
    message_hint: "问点什么",
    story_hint: "写一个英文开头，让它讲下去",
    send: "发送",
    stop: "停止",
    copy: "复制",
    regenerate: "重新生成",
    new_chat: "新对话",
    to_newest: "最新",
    waiting: "正在等待模型…",
    finished: "回答完毕",
    stopped: "已停止",
    cut_off: "已到词元上限",
    first_token: "首个词元 {ms}",
    per_second: "{n} 词元/秒",
    n_tokens: "{n} 个词元",
    you: "你",
    answer: "回答",
    welcome_chat: "在下面输入。模型在你自己的 GPU 上运行，你写的内容不会离开本机。",
    demo_note: "这是只会讲故事的演示。要问答，请选择真实模型。",
    starter_1: "Once upon a time, there was a little robot",
    starter_2: "Lily found a shiny key in the garden",
    starter_3: "One day, a cat and a bird",
    ask_1: "用两句话解释天空为什么是蓝的",
    ask_2: "写一张取消会议的礼貌便条",
    ask_3: "雨天下午的三个点子",

    text: "文本",
    text_hint: "输入或粘贴一段文本",
    text_example: "The battery lasts all day and the screen is lovely.",
    labels: "标签",
    labels_head: "使用模型自带的标签。也可以添加自己的标签来比较。",
    labels_own: "分数比较文本与各标签的含义。",
    labels_demo: "此模型只懂自带的标签。要用自己的标签，请用",
    more_labels: "另有 {n} 个",
    no_labels: "这个模型没有自带标签，请添加。",
    add_label: "添加标签",
    add: "添加",
    remove_label: "移除 {label}",
    label_positive: "正面",
    label_negative: "负面",
    result: "结果",
    classified: "{label}，{score}",
    took: "{ms}，{device}",
    unknown_words: "模型不认识这段文字中 {share} 的词，结果没有多大意义。",
    explain_label: "说明原因",
    weighing_words: "正在权衡各个词…",
    why: "为何是“{label}”：",
    speaks_for: "支持",
    speaks_against: "反对",
    strongest_words: "影响最大的词及其对“{label}”的贡献：{words}。",
    no_strong_word: "没有哪个词单独改变分数。",
    list_comma: "、",

    many_texts: "批量文本",
    many_hint: "把 CSV、TSV、JSONL 或文本文件拖到这里：每一行都会得到标签。文件不会离开本机。",
    choose_file: "选择文件",
    close_file: "关闭文件",
    reading_file: "正在读取 {name}…",
    n_rows: "{n} 行",
    column: "文本所在的列",
    has_header: "首行是列名",
    n_of: "{done} / {total}",
    texts_per_second: "{n} 条/秒",
    time_left: "还需 {time}",
    bytes_per_second: "{size}/秒",
    paused: "已暂停",
    pause: "暂停",
    go_on: "继续",
    run_again: "重新运行",
    save: "保存",
    show: "显示",
    with_words: "含有词语",
    all_labels: "所有行",
    no_result: "无结果",
    row: "行",
    label: "标签",
    score: "分数",
    no_match: "没有这样的行。",
    page_before: "上一页",
    page_after: "下一页",
    many_begun: "正在给 {n} 条文本加标签",
    many_done: "{n} 条文本已加标签",
    many_took: "{n} 条文本，用时 {time}",
    n_bad: "{n} 条无结果",
    many_unknown: "{n} 条含许多模型不认识的词，其结果没有多大意义",
    many_outdated: "标签或模型已更改。这些结果（{done}）来自更改之前。",

    temperature: "温度",
    top_p: "Top-p",
    max_tokens: "最多词元",
    seed: "随机种子",
    seed_hint: "随机",
    system_prompt: "系统提示",
    system_hint: "你是一个乐于助人的助手。",
    hub_mirror: "模型库镜像",
    mirror_help: "从哪里获取模型；留空即模型库本身。",
    theme: "颜色",
    theme_auto: "跟随系统",
    theme_light: "浅色",
    theme_dark: "深色",
    language: "语言",
    sampling: "回答",
    page: "本页",
    zero_greedy: "0 总是取最可能的词元。",

    device: "设备",
    no_device: "尚无设备",
    adapter: "适配器",
    backend: "后端",
    driver: "驱动",
    kind: "类型",
    features: "特性",
    half_floats: "16 位浮点",
    subgroups: "子组 {size}",
    none: "无",
    max_binding: "最大绑定",
    max_buffer: "最大缓冲区",
    max_workgroup: "工作组内存",
    max_storage: "存储缓冲区",
    browser: "浏览器",
    model_in_use: "模型",
    parameters: "{n} 个权重，GPU 上 {size}，上下文 {context}",
    copy_device: "复制以便报告问题",
    self_test: "检查计算结果",
    self_test_at: "检查中：权重类型 {done} / {total}",
    self_test_right: "全部 {n} 个乘积正确；最大误差 {worst}。",
    self_test_wrong: "{all} 个乘积中有 {n} 个错误：{names}。换浏览器或驱动或许有用。",

    no_webgpu: "此浏览器没有 WebGPU",
    no_webgpu_why: "Trice 在你的图形处理器上计算，而网页只能通过 WebGPU 使用它。",
    no_adapter: "WebGPU 没有找到图形处理器",
    no_adapter_why: "浏览器有 WebGPU，但没有可用的适配器：驱动可能被禁用、缺失或已崩溃。重启浏览器有时有效。",
    insecure: "此页面通过普通 http 打开。WebGPU 需要 https，或本机地址（如 127.0.0.1）。",
    how_chrome: "Chrome 与 Edge：121 版起在 Windows、macOS 和 Android 上可用。Linux 上请打开 chrome://flags，启用 “Unsafe WebGPU Support” 和 “Vulkan”。",
    how_safari: "Safari：26 版起在 macOS、iOS 和 iPadOS 上可用。",
    how_firefox: "Firefox：141 版起在 Windows 上可用，145 版起在 Apple 芯片的 Mac 上可用。其他系统请用 Firefox Nightly 并在 about:config 中启用 dom.webgpu.enabled，或换一个浏览器。",
    how_native: "也可以直接运行程序：cargo xtask run，或在终端里运行 trice chat。",
    this_browser: "你的浏览器",

    error_Io: "无法获取模型：{message}。请检查名称和网络后重试。",
    error_Format: "无法使用此文件：{message}。请选择其他文件。",
    error_Unsupported: "尚不支持此模型：{message}。请选择其他模型。",
    error_Limit: "超出设备能力：{message}。请选择更小的模型或更短的文本。",
    error_Quota: "没有足够的空间保存此模型：{message}。请删除其他模型，或不保存直接运行。",
    error_Gpu: "图形驱动报告故障：{message}。请重新加载模型；如仍出现，请重启浏览器。",
    error_Invalid: "未能完成：{message}。",
    error_Crash: "引擎已停止：{message}。请重新加载模型。",
    error_Cancelled: "已停止。",
    error_NoWebGpu: "{message}。",
    error_other: "出了问题：{message}。请重试。",
    try_again: "重试",
    choose_another: "选择模型",
  },
};

let language = "en";

/** @returns {string} */
export function currentLanguage() {
  return language;
}

/** Takes a language, or the browser's own where none is given. @param {string} choice */
export function setLanguage(choice) {
  const wanted = choice || navigator.language;
  language = wanted.toLowerCase().startsWith("zh") ? "zh" : "en";
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  placeStrings(document);
}

/**
 * The words for a key, with `{name}` places filled.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const words = STRINGS[language][key] ?? STRINGS.en[key] ?? key;
  return words.replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));
}

/** An error as a sentence with a next step. @param {any} error */
export function sentence(error) {
  const message = String(error?.message ?? error).replace(/[.。]$/, "");
  const key = `error_${error?.name}`;
  return t(key in STRINGS.en ? key : "error_other", { message });
}

/** Fills `data-t`, `data-t-label`, `data-t-title` and `data-t-hint` of a tree. @param {ParentNode} root */
export function placeStrings(root) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-t],[data-t-label],[data-t-hint]"))) {
    const { t: text, tLabel, tHint } = element.dataset;
    if (text) element.textContent = t(text);
    if (tLabel) element.setAttribute("aria-label", t(tLabel));
    if (tLabel) element.title = t(tLabel);
    if (tHint) element.setAttribute("placeholder", t(tHint));
  }
}

/** 1.9 MB: decimal units, as shops and hubs count. @param {number} bytes */
export function formatBytes(bytes) {
  const [size, unit] = bytes >= 1e9 ? [bytes / 1e9, "GB"] : bytes >= 1e6 ? [bytes / 1e6, "MB"] : [bytes / 1e3, "kB"];
  return `${formatNumber(size, size < 10 ? 1 : 0)} ${unit}`;
}

/** 128 MiB: what devices count in. @param {number} bytes */
export function formatBinary(bytes) {
  const [size, unit] = bytes >= 2 ** 30 ? [bytes / 2 ** 30, "GiB"] : bytes >= 2 ** 20 ? [bytes / 2 ** 20, "MiB"] : [bytes / 2 ** 10, "KiB"];
  return `${formatNumber(size, Number.isInteger(size) ? 0 : 1)} ${unit}`;
}

/** Grouped thousands. @param {number} value @param {number} [digits] */
export function formatNumber(value, digits = 0) {
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** @param {number} ms */
export function formatDuration(ms) {
  return ms < 1000 ? `${formatNumber(ms)} ms` : `${formatNumber(ms / 1000, 1)} s`;
}

/** How long something will take: whole seconds, or minutes. @param {number} ms */
export function formatWait(ms) {
  return ms < 120_000 ? `${formatNumber(Math.ceil(ms / 1000))} s` : `${formatNumber(Math.ceil(ms / 60_000))} min`;
}

/** @param {number} fraction */
export function formatPercent(fraction) {
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1, minimumFractionDigits: 1 }).format(fraction);
}

/** With its sign, which zero has not. @param {number} fraction */
export function formatSignedPercent(fraction) {
  const options = /** @type {const} */ ({ style: "percent", maximumFractionDigits: 1, minimumFractionDigits: 1, signDisplay: "exceptZero" });
  return new Intl.NumberFormat(language, options).format(fraction);
}

/** The day of a time. @param {number} time Milliseconds since 1970. */
export function formatDate(time) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(time);
}
