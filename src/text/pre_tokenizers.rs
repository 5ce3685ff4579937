//! How byte-level vocabularies cut text into words: the patterns behind the names that `tokenizer.ggml.pre` gives. Holds
//! no cutting.

/// How a byte-level vocabulary cuts text into words: each pattern in turn cuts what the one before left.
#[derive(Clone, Copy)]
pub(super) struct PreTokenizer {
    pub(super) patterns: &'static [&'static str],
    /// Text is composed (NFC) first.
    pub(super) nfc: bool,
    /// A word that is a token is that token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Texts begin with the begin token where the file does not say.
    pub(super) adds_bos: bool,
}

pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As Qwen 2's, with marks as parts of words.
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Words end before a capital letter.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As GPT-4o's, with Han characters apart from all others.
const KIMI: &str = r"\p{Han}+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As Llama 3's, with runs of spaces cut to powers of two.
const JAIS2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";
/// Several words of one language may be one.
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
/// Everything between spaces and the punctuation of BLOOM's languages.
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
/// Digits, each a word.
pub(super) const DIGIT: &str = r"\p{N}";
const THREE_DIGITS: &str = r"\p{N}{1,3}";
/// Threes of digits counted from the end of the number.
const THREES_FROM_THE_END: &str = r"\d{1,3}(?=(?:\d{3})*\b)";
const CJK: &str = "[一-龥ࠀ-一가-퟿]+";
const CJK_AND_KANA: &str = "[一-龥぀-ゟ゠-ヿ]+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
/// Letters with case, as DeepSeek's first models list them. Escaped are those that composing text would change.
const DEEPSEEK_LETTERS: &str = "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⲳⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_PUNCTUATION: &str = r"\s?[!-/:-~！-／：-～‘-‟　-。]+";

const PLAIN: PreTokenizer = PreTokenizer { patterns: &[], nfc: false, ignore_merges: false, adds_bos: false };
const GPT2_WORDS: PreTokenizer = PreTokenizer { patterns: &[GPT2], ..PLAIN };
const SINGLE_DIGITS: PreTokenizer = PreTokenizer { patterns: &[DIGIT, GPT2], ..PLAIN };
const LLAMA3_WORDS: PreTokenizer = PreTokenizer { patterns: &[LLAMA3], ignore_merges: true, ..PLAIN };
const LLAMA3_TEXTS: PreTokenizer = PreTokenizer { adds_bos: true, ..LLAMA3_WORDS };
const QWEN2_WORDS: PreTokenizer = PreTokenizer { patterns: &[QWEN2], ..PLAIN };
const GPT4O_WORDS: PreTokenizer = PreTokenizer { patterns: &[GPT4O], ..PLAIN };

/// Every name with its rule.
const NAMES: &[(&[&str], PreTokenizer)] = &[
    (
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "roberta-bpe",
            "modern-bert",
            "exaone4",
            "trillion",
            "mellum",
            "gigachat",
            "granite-docling",
            "a.x-4.0",
            "jina-v1-en",
            "jina-v2-code",
            "jina-v2-de",
            "jina-v2-es",
            "jina-de",
            "jina-es",
        ],
        GPT2_WORDS,
    ),
    (&["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"], SINGLE_DIGITS),
    (
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
        LLAMA3_TEXTS,
    ),
    (&["dbrx", "smaug-bpe"], LLAMA3_WORDS),
    (&["glm4", "chatglm-bpe"], PreTokenizer { ignore_merges: false, ..LLAMA3_WORDS }),
    (&["minicpm5"], PreTokenizer { patterns: &[THREE_DIGITS, LLAMA3], ..LLAMA3_WORDS }),
    (&["jais-2"], PreTokenizer { patterns: &[JAIS2], ..PLAIN }),
    (&["qwen2", "deepseek-r1-qwen", "f2llmv2"], PreTokenizer { nfc: true, ..QWEN2_WORDS }),
    (&["stablelm2", "hunyuan", "megrez", "kormo", "solar-open", "grok-2"], QWEN2_WORDS),
    (&["qwen35"], PreTokenizer { patterns: &[QWEN35], nfc: true, ..PLAIN }),
    (&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], GPT4O_WORDS),
    (&["granite-embed-multi-97m"], PreTokenizer { ignore_merges: true, ..GPT4O_WORDS }),
    (&["tiny_aya", "cohere2moe"], PreTokenizer { patterns: &[THREES_FROM_THE_END, GPT4O], ..PLAIN }),
    (&["tekken"], PreTokenizer { patterns: &[TEKKEN], ignore_merges: true, adds_bos: true, ..PLAIN }),
    (&["kimi-k2"], PreTokenizer { patterns: &[KIMI], ..PLAIN }),
    (&["bailingmoe", "bailingmoe2", "llada-moe"], PreTokenizer { patterns: &[BAILING], ..PLAIN }),
    (&["seed-coder"], PreTokenizer { patterns: &[SEED_CODER], ..PLAIN }),
    (&["exaone-moe"], PreTokenizer { patterns: &[EXAONE_MOE], ..PLAIN }),
    (&["bloom", "gpt3-finnish", "poro-chat"], PreTokenizer { patterns: &[BLOOM], ..PLAIN }),
    (&["viking"], PreTokenizer { patterns: &[BLOOM, DIGIT], ..PLAIN }),
    (&["falcon"], PreTokenizer { patterns: &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"], ..PLAIN }),
    (
        &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        PreTokenizer { patterns: &[THREE_DIGITS, CJK_AND_KANA, DEEPSEEK3], ..PLAIN },
    ),
    (
        &["deepseek-llm"],
        PreTokenizer {
            patterns: &["[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", CJK, r"\p{N}+"],
            ..PLAIN
        },
    ),
    (&["deepseek-coder"], PreTokenizer { patterns: &["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, DIGIT], ..PLAIN }),
    (
        &["chameleon"],
        PreTokenizer {
            patterns: &[
                "<sentinel:[0-9]+>",
                "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                "([\t\n]|    |  )",
                DIGIT,
                r"[\p{P}!-/:-@\[-`{-~]",
                GPT2,
            ],
            adds_bos: true,
            ..PLAIN
        },
    ),
    (&["superbpe"], PreTokenizer { patterns: &[r"\p{N}+", r"(?=(\d{3})+(?!\d))"], ..PLAIN }),
    (&["default"], PreTokenizer { patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], ..PLAIN }),
];

impl PreTokenizer {
    /// The rule that `tokenizer.ggml.pre` names.
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(names, _)| names.contains(&name)).map(|(_, rule)| *rule)
    }

    /// The first name under which a vocabulary is split by these patterns, composes text first or not, and takes words that are
    /// tokens for those whatever the merges say, or not.
    pub(super) fn name_of(patterns: &[String], nfc: bool, ignore_merges: bool) -> Option<&'static str> {
        let is_it = |rule: &Self| rule.patterns == patterns && rule.nfc == nfc && rule.ignore_merges == ignore_merges;
        NAMES.iter().find(|(_, rule)| is_it(rule)).map(|(names, _)| names[0])
    }

    /// All names, for messages.
    pub(super) fn names() -> Vec<&'static str> {
        let mut names: Vec<_> = NAMES.iter().flat_map(|(names, _)| *names).copied().collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::{LLAMA3, PreTokenizer, QWEN2};

    #[test]
    fn a_name_says_all_of_its_rule() {
        let name_of = |pattern: &str, nfc, ignore| PreTokenizer::name_of(&[pattern.to_owned()], nfc, ignore);
        for (pattern, nfc, ignore_merges) in [(LLAMA3, false, true), (LLAMA3, false, false), (QWEN2, true, false)] {
            let name = name_of(pattern, nfc, ignore_merges).unwrap();
            let rule = PreTokenizer::named(name).unwrap();
            assert_eq!((rule.patterns, rule.nfc, rule.ignore_merges), (&[pattern][..], nfc, ignore_merges), "{name}");
        }
        assert_eq!(name_of(QWEN2, true, true), None);
    }
}
