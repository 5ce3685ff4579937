// The types of the JavaScript API. The scripts beside this file are checked against it.

/** A function that an assistant calls; `arguments` is JSON in a text, as OpenAI's clients have it, or an object. */
export type ToolCall = { id?: string; type: "function"; function: { name: string; arguments: string | object } };
/** OpenAI's message. Who calls need not speak. */
export type Message =
  | { role: "system" | "developer" | "user"; content: string | { type: "text"; text: string }[] }
  | { role: "assistant"; content?: string | null; reasoning_content?: string; tool_calls?: ToolCall[] }
  | { role: "tool"; content: string; tool_call_id?: string };
/** OpenAI's description of a function that a model may call; `parameters` is a JSON schema. */
export type Tool = { type: "function"; function: { name: string; description?: string; parameters?: object } };
export type ToolChoice = "auto" | "none" | "required" | { type: "function"; function: { name: string } };
/** A file of a model; `name` is its path inside the model's folder. */
export type ModelFile = { name: string; blob: Blob };
/** A name, an address, or files. */
export type ModelSource = string | File | File[] | FileList | ModelFile[];
/**
 * Bytes fetched, bytes read, shaders compiled; "waiting" while another tab fetches the same model; "mending" when a damaged piece of
 * what is kept is fetched again, `done` being which of `total`.
 */
export type Progress = {
  stage: "waiting" | "downloading" | "mending" | "reading" | "compiling";
  done: number;
  total: number;
  /** While downloading: over the last seconds. */
  bytesPerSecond?: number;
  /** While downloading, once there is a speed. */
  secondsLeft?: number;
};
export type LabelScore = { label: string; score: number };

export type LoadOptions = {
  onProgress?: (progress: Progress) => void;
  /**
   * Called where the GPU is lost (a driver's crash, a sleeping laptop): the model is loaded again, which `onProgress` tells of, and
   * what was asked for goes on, an answer behind its last token. `back` resolves once it does, and rejects where there is no GPU any more.
   */
  onLost?: (back: Promise<void>) => void;
  /** Aborting stops the load and frees what it had; what was fetched stays, and the next load goes on from there. */
  signal?: AbortSignal;
  /**
   * Whether this browser keeps a model from the network, in the origin's private files: by default it does. `pieceBytes` (32 MiB)
   * is what is checked, and fetched again, alone; `ranges` (4) is how many pieces are fetched at once.
   */
  keep?: boolean | { pieceBytes?: number; ranges?: number };
  /** Tokens of context to reserve; by default min(the model's, 4096). */
  contextLength?: number;
  /**
   * Measure first which shaders are fastest on this device, where that is not known yet: about a second, kept for later visits.
   * Otherwise it is done after the first answer, for the models loaded after that.
   */
  tune?: boolean;
  /** Count the engine's calls of the browser, for `calls()`. */
  counts?: boolean;
  /** Element type of the KV cache. */
  kvType?: "f16" | "f32" | "q8_0";
  /** Guess several tokens ahead from what the text repeats, and check them at once; by default off. Answers stay the same. */
  speculate?: "off" | "lookup";
  /** Conversations that the cache holds side by side, each with a context of its own; by default 1. `fork` needs 2 or more. */
  parallel?: number;
  /** A part of an adapter's name. */
  device?: string;
  /** A hub mirror's address. */
  endpoint?: string;
  /** The hub's access token. */
  token?: string;
  /** The folder that holds the built-in models, as an absolute address; by default `models/` beside this script's folder. */
  builtinBase?: string;
};

export type Overflow = "error" | "shift" | "truncate-middle";

export type GenerateOptions = {
  /** 0 is greedy. */
  temperature?: number;
  /** Keep the k most probable tokens; 0 keeps all. */
  topK?: number;
  /** Keep the fewest tokens whose probabilities reach this sum. */
  topP?: number;
  /** Keep tokens at least this fraction as probable as the best. */
  minP?: number;
  /** 1 is off. */
  repeatPenalty?: number;
  /** Whether a model that can think first does so; by default as its chat template has it. */
  thinking?: boolean;
  /** Functions that the model may call. A call is part of the answer's text; with `parts` it is told apart. */
  tools?: Tool[];
  /** Whether it must call one; by default "auto". A call that it must make takes the module that schemas take. */
  toolChoice?: ToolChoice;
  /** Whether one answer may call several; by default it may. */
  parallelToolCalls?: boolean;
  /** Pieces also say what they are parts of: a thought, what is said, calls. */
  parts?: boolean;
  /** By default a random one. */
  seed?: number;
  maxTokens?: number;
  /**
   * What happens where the text is longer than the context. "error", the default: such a prompt is an error, and an answer ends
   * where the context does. "shift": the oldest tokens after the first quarter go, and the answer goes on. "truncate-middle": a
   * prompt keeps its beginning and its end.
   */
  overflow?: Overflow;
  /** Texts that end the answer. */
  stop?: string | string[];
  /**
   * A JSON schema: the answer is JSON that it holds for, on one line. It takes a wasm module of its own, fetched once. Cut by
   * `maxTokens` it is no JSON, which `finish_reason` says.
   */
  schema?: object | boolean;
  /** A grammar in Lark's syntax, instead of a schema: the answer is a text of its rule `start`. */
  grammar?: string;
  /** Also report this many most probable tokens per step. */
  logprobs?: number;
  signal?: AbortSignal;
};

export type Prompt =
  /** `goOn`: the last message is the beginning of the answer, which goes on behind it. */
  | { messages: Message[]; goOn?: boolean; prompt?: undefined }
  | { prompt: string; raw?: boolean }
  | { ids: number[]; prompt?: undefined };

/** `bytes` are there in pieces, not in what `generate` resolves to. */
export type TokenLogprob = { id: number; bytes?: number[]; logprob: number };
export type StepLogprobs = TokenLogprob & { top: TokenLogprob[] };
/** What an answer is made of. A part of the same kind as the last one continues it, but for calls, which are whole; `arguments` is a JSON object in a text. */
export type ReplyPart = { reasoning: string } | { content: string } | { call: { name: string; arguments: string } };
/** What a token, or the end, adds to an answer. */
export type Piece = { text: string; tokens: number[]; parts?: ReplyPart[]; logprobs?: StepLogprobs[] };

export type Timings = {
  load_ms: number;
  prefill_ms: number;
  /** Prompt tokens read; those that the cache held already are not among them. */
  prefill_tokens: number;
  /** Prompt tokens that the cache held already. */
  cached_tokens: number;
  prefill_tokens_per_s: number;
  decode_tokens_per_s: number;
  dispatches_per_token: number;
  submits_per_token: number;
  read_backs_per_token: number;
  drafted_tokens: number;
  accepted_tokens: number;
};

/** What `trice chat --json` prints. */
export type Generation = {
  model: string;
  prompt_tokens: number[];
  tokens: number[];
  text: string;
  finish_reason: "stop" | "length" | "cancelled";
  /** Tokens left out of prompt and answer because the context was full. */
  dropped_tokens: number;
  timings: Timings;
  logprobs?: StepLogprobs[];
};

export type ModelInfo = {
  kind: "decoder" | "encoder";
  name: string;
  architecture: string;
  n_params: number;
  weight_bytes: number;
  context_len: number;
  vocab_size: number;
  load_ms: number;
  /** Without a chat template a decoder can only continue text. */
  has_template: boolean;
  /** Of an encoder's head; empty without a head. */
  labels: string[];
  /** Bytes of WebAssembly memory the engine takes. */
  heap_bytes: number;
};

export type DeviceInfo = {
  index: number;
  name: string;
  backend: string;
  driver: string;
  kind: string;
  f16: boolean;
  timestamps: boolean;
  subgroups: boolean;
  subgroup_size: [number, number];
  max_binding_bytes: number;
  max_buffer_bytes: number;
  max_workgroup_bytes: number;
  max_storage_buffers: number;
};

/** What becomes of a text longer than the context: its beginning is read, or all of it in windows. */
export type Long = "truncate" | "windows";

/** How a text was read; only what is out of the ordinary is there. */
export type Reading = {
  /** Tokens left out at the text's end. */
  dropped_tokens?: number;
  /** Windows, where they are more than one. */
  windows?: number;
  /** Share of tokens that the vocabulary does not have, where it is above 0.2: the result means little. */
  unknown_share?: number;
};

/**
 * Own labels are judged by the model's head where it knows entailment, else compared with the text by embedding; without them the
 * model's head answers.
 */
export type ClassifyOptions = {
  labels?: string[];
  template?: string;
  multiLabel?: boolean;
  long?: Long;
  /** Say what each word adds to the score of each text's best label, or of this one. */
  explain?: boolean | string;
  /** Aborting rejects with a `Cancelled` error and frees the model. */
  signal?: AbortSignal;
};
/**
 * What a word adds to the label's score: the mean of what the text loses without it and of what it alone has above no text; below zero
 * the word speaks against the label. `word` is `text.slice(start, end)`.
 */
export type WordScore = { word: string; start: number; end: number; score: number };
/** Words in the text's order, punctuation marks being words of their own; of long texts runs of words. */
export type Explanation = { label: string; words: WordScore[] };
/** Best first. */
export type Classified = { labels: LabelScore[]; explanation?: Explanation } & Reading;
export type EmbedOptions = { pooling?: "mean" | "cls" | "last"; normalize?: boolean; long?: Long };

export type Aggregation = "none" | "simple" | "first" | "average" | "max";
/** `stride`: tokens that neighbouring windows share. By default `aggregation` is "simple". */
export type TagOptions = { aggregation?: Aggregation; long?: Long; stride?: number };
/** `text.slice(start, end)` is the entity. Without aggregation there is `entity` and `index` instead of `entity_group`. */
export type Entity = {
  entity_group?: string;
  entity?: string;
  index?: number;
  score: number;
  word: string;
  start: number;
  end: number;
};
export type Tagged = { entities: Entity[] } & Reading;

export type AnswerOptions = {
  /** Answers at most; by default 1. */
  top?: number;
  /** Tokens of an answer at most; by default 15. */
  maxAnswerLen?: number;
  /** Tokens of a window, question included; by default 384, or the context. */
  maxLen?: number;
  /** Tokens that neighbouring windows of a long context share; by default 128. */
  stride?: number;
  /** Whether "there is no answer" is one of the answers, an empty one. */
  noAnswer?: boolean;
};
/** `context.slice(start, end)` is the answer. */
export type Answer = { answer: string; score: number; start: number; end: number };
export type Answered = { answers: Answer[] } & Reading;

/** Which document, and how well it answers. */
export type Ranked = { index: number; score: number } & Reading;

export type Filling = { score: number; token: number; token_str: string; sequence: string };
/** One list per hidden place, best first. */
export type Filled = { masks: Filling[][] };
export type BenchOptions = { prompt?: number; generate?: number; batch?: number; repetitions?: number };

/** OpenAI's request; fields that are not listed here are not looked at. */
export type CompletionRequest = {
  messages: Message[];
  stream?: boolean;
  /** For `fetch`: a last chunk tells the tokens. The chunks of `create` do so anyway. */
  stream_options?: { include_usage?: boolean };
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repeat_penalty?: number;
  /** The last message is the beginning of the answer, which goes on behind it. */
  continue_final_message?: boolean;
  max_tokens?: number;
  max_completion_tokens?: number;
  stop?: string | string[];
  seed?: number;
  logprobs?: boolean;
  /** At each place also this many most probable tokens. */
  top_logprobs?: number;
  tools?: Tool[];
  tool_choice?: ToolChoice;
  parallel_tool_calls?: boolean;
  /** "json_object": any JSON object; "json_schema": JSON that the schema holds for. */
  response_format?:
    | { type: "text" | "json_object" }
    | { type: "json_schema"; json_schema: { schema: object; name?: string; strict?: boolean } };
  chat_template_kwargs?: { enable_thinking?: boolean };
  /** Beside OpenAI's fields. */
  overflow?: Overflow;
  signal?: AbortSignal;
};

/** A loaded model in its worker. */
export interface Model {
  readonly info: ModelInfo;
  readonly device: DeviceInfo;
  readonly openai: {
    /** The shapes of OpenAI's client: a completion, or with `stream` an async iterable of chunks. */
    chat: { completions: { create(request: CompletionRequest): Promise<any> } };
    /**
     * What the clients of OpenAI take for `fetch`, and with them the AI SDK: `POST …/chat/completions` and `…/embeddings`
     * of any address are answered by this model, without a network.
     */
    fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
  };
  /** Answers a conversation, piece by piece. Leaving the loop cancels; an aborted `signal` throws its reason. */
  chat(messages: Message[], options?: GenerateOptions): AsyncGenerator<string, Generation | undefined, void>;
  /** As `stream`, with tokens, parts and log-probabilities. */
  pieces(prompt: Prompt, options?: GenerateOptions): AsyncGenerator<Piece, Generation | undefined, void>;
  /** As `chat`, for any kind of prompt. */
  stream(prompt: Prompt, options?: GenerateOptions): AsyncGenerator<string, Generation | undefined, void>;
  /** Generates to the end. An aborted `signal` resolves to what there is, with `finish_reason` "cancelled". */
  generate(prompt: Prompt, options?: GenerateOptions, onPiece?: (piece: Piece) => void): Promise<Generation>;
  /**
   * Gives an encoder the head of a file that `trice classify --train` wrote, in place of the one it has: `info.labels` are its labels
   * then, and `classify` gives them. It must have been learnt on the same model.
   */
  loadHead(file: File): Promise<void>;
  /** Labels with scores, best first, for each text. */
  classify(texts: string[], options?: ClassifyOptions): Promise<Classified[]>;
  /** One vector per text, `(n_texts, dim)`. */
  embed(texts: string[], options?: EmbedOptions): Promise<number[][]>;
  /** Named entities of each text, by a head of tokens. */
  tag(texts: string[], options?: TagOptions): Promise<Tagged[]>;
  /** Answers to a question that stand in a context, best first, by a head of answers. */
  answer(question: string, context: string, options?: AnswerOptions): Promise<Answered>;
  /** Documents in the order in which they answer a query: by a head of one class, which reads both, else by their vectors. */
  rank(query: string, documents: string[]): Promise<Ranked[]>;
  /** Words for the hidden places of each text, by a head of hidden tokens. */
  fill(texts: string[], options?: { top?: number }): Promise<Filled[]>;
  /** Measures speed; resolves to what `trice bench --json` prints. */
  bench(options?: BenchOptions, onRun?: (runs: { done: number; total: number }) => void): Promise<object>;
  /** Bytes per second that its device reads at best, measured in about 200 ms. */
  bandwidth(): Promise<number>;
  /** How often the engine has called the browser, by name; empty unless loaded with `counts`. */
  calls(): Promise<Record<string, number>>;
  /** What is loaded, where, how long the last answer took, and since when nothing has been asked; null while something is. */
  stats(): ModelInfo & { device: string; timings: Timings | null; idle_ms: number | null };
  /**
   * Another model over the same worker, for the last conversation to go on in two ways: neither reads again what both begin with.
   * Needs `parallel` of 2 or more; answers still come one after the other.
   */
  fork(): Promise<Model>;
  /** Ends the worker and frees its memory and the GPU's, once every fork is disposed of as well. */
  dispose(): Promise<void>;
}

/** An error of the engine: `name` says who can act (Io, Format, Unsupported, Limit, Quota, Gpu, Invalid, Cancelled, Crash). */
export class EngineError extends Error {
  constructor(name: string, message: string);
}

/** Loads a model: `builtin:stories`, `hf:owner/repo:Q4_K_M`, an address, `random:15m`, a File, or a folder's files. */
export function load(source: ModelSource, options?: LoadOptions): Promise<Model>;

export type Task =
  | "text-classification"
  | "zero-shot-classification"
  | "token-classification"
  | "question-answering"
  | "text-ranking"
  | "fill-mask"
  | "feature-extraction"
  | "text-generation";
export type Pipeline = ((...args: any[]) => Promise<any>) & { model: Model; dispose: () => Promise<void> };

/** A function over a model, in the shapes that users of transformers.js know. Most tasks have a built-in model. */
export function pipeline(task: Task, model?: Model | ModelSource, options?: LoadOptions): Promise<Pipeline>;

/** A model of the network that this browser keeps, all of it or a part. */
export type KeptModel = {
  id: string;
  /** What it was loaded by. */
  name: string;
  /** Bytes that are here, of how many. */
  done: number;
  total: number;
  /** When it was last loaded: milliseconds since 1970. */
  used: number;
};

/** What this browser keeps of models, last used first. */
export function keptModels(): Promise<KeptModel[]>;

/** Deletes what is kept of a model. */
export function forgetModel(id: string): Promise<void>;

/** One of the models in a repository of the hub. */
export type RepoChoice = {
  /** What to write behind the colon of `hf:owner/repo:…`. */
  pick: string;
  /** Bytes of its weights, where the hub tells. */
  n_bytes: number | null;
};

/** The models that the repository of `hf:owner/repo` holds, smallest first. */
export function repoChoices(name: string, options?: { endpoint?: string; token?: string }): Promise<RepoChoice[]>;

/** What a device is, and how many bytes per second it reads at best, measured in about 200 ms. */
export function probe(options?: { device?: string }): Promise<{ device: DeviceInfo; bytesPerSecond: number }>;

/** The adapters the browser offers; empty where there is none. */
export function devices(): Promise<DeviceInfo[]>;

/** Products of one type of weights beside the CPU's. */
export type Checked = {
  /** `Q4_K`, … */
  dtype: string;
  /** What they were computed with. */
  math: "f32" | "f16" | "int8";
  /** Columns that the weights were multiplied by. */
  n_columns: number;
  /** Squared error over the squares of the CPU's products; null where it is no number. */
  nmse: number | null;
  is_right: boolean;
};

/** Multiplies weights of every type on the device and compares with the CPU, in seconds. */
export function selfTest(options?: {
  /** A part of an adapter's name. */
  device?: string;
  onProgress?: (progress: { done: number; total: number }) => void;
}): Promise<Checked[]>;

/** A row of a table: its text, or the line as it stands and why there is no text. */
export type Row = { text: string; error?: string };
/** What came of a row. */
export type RowResult = LabelScore | { error: string };
export type TableInfo = {
  format: "lines" | "csv" | "tsv" | "jsonl";
  /** The columns that may hold the texts; none of plain lines. */
  columns: string[];
  /** The one that does. */
  column: string | null;
  n_rows: number;
};

/** A file of many texts, as `trice classify --file` reads it. Holds a worker until it is closed. */
export interface Table {
  readonly name: string;
  readonly info: TableInfo;
  /** The rows from `start` up to `end`. */
  rows(start: number, end: number): Promise<Row[]>;
  /**
   * The file with labels and scores behind its first rows, as many as there are results: what `trice classify --file` writes, and what
   * its `--resume` goes on with.
   */
  save(results: RowResult[]): Promise<Blob>;
  close(): void;
}

/** Opens a file of texts: CSV, TSV, JSON lines or plain lines, told by its name. */
export function openTable(
  file: File,
  options?: {
    /** By default the one that looks most like it. */
    column?: string;
    /** Whether CSV and TSV begin with the names of their columns; by default they do. */
    header?: boolean;
  },
): Promise<Table>;
