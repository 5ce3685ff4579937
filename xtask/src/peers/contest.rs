//! Who is compared with whom, on what.

use crate::drivers::Driver;
use std::fmt;

/// A model that everybody reads from the same file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Model {
    /// Random weights at a real shape, as GGUF.
    Llama { shape: &'static str, quant: &'static str },
    /// all-MiniLM-L6-v2: Trice reads its folder, transformers.js the same weights as ONNX.
    MiniLm,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Llama { shape, quant } => write!(f, "{shape} {quant}"),
            Self::MiniLm => f.write_str("MiniLM"),
        }
    }
}

/// How much is measured. Small enough that the slowest peer ends in a few minutes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Counts {
    /// Tokens of prompt; of an encoder, tokens per text.
    pub(super) prompt: usize,
    /// Generated tokens; none by an encoder.
    pub(super) generate: usize,
    /// Texts at once.
    pub(super) batch: usize,
}

/// What is timed; also the place of its figures in a list of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Test {
    Prompt = 0,
    Generate = 1,
}

impl Counts {
    pub(super) fn tests(self) -> &'static [Test] {
        if self.generate > 0 { &[Test::Prompt, Test::Generate] } else { &[Test::Prompt] }
    }

    /// `pp64`, `tg16`; of an encoder `pp128 × 8`.
    pub(super) fn name(self, test: Test) -> String {
        match test {
            Test::Generate => format!("tg{}", self.generate),
            Test::Prompt if self.generate > 0 => format!("pp{}", self.prompt),
            Test::Prompt => format!("pp{} × {}", self.prompt, self.batch),
        }
    }
}

/// Which Chromium: the installed one computes on its own SwiftShader, a copy of it on Mesa's llvmpipe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Browser {
    Stock,
    Lavapipe,
}

impl Browser {
    const ALL: [Self; 2] = [Self::Lavapipe, Self::Stock];

    /// The adapter that a page gets, by the name that its native driver has in `drivers`.
    fn adapter(self) -> &'static str {
        match self {
            Self::Stock => "swiftshader",
            Self::Lavapipe => "llvmpipe",
        }
    }
}

/// A program that is measured, and on what it computes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subject {
    Trice(Driver),
    TricePage(Browser),
    LlamaVulkan(Driver),
    LlamaCpu,
    WllamaWebGpu(Browser),
    WllamaWasm,
    TransformersWebGpu(Browser),
    TransformersWasm,
}

impl Subject {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Trice(_) => "trice",
            Self::TricePage(_) => "trice page",
            Self::LlamaVulkan(_) => "llama.cpp Vulkan",
            Self::LlamaCpu => "llama.cpp CPU",
            Self::WllamaWebGpu(_) => "wllama WebGPU",
            Self::WllamaWasm => "wllama wasm, 1 thread",
            Self::TransformersWebGpu(_) => "transformers.js WebGPU",
            Self::TransformersWasm => "transformers.js wasm, 1 thread",
        }
    }

    /// What it computes on; none is the CPU.
    pub(super) fn adapter(&self) -> Option<&str> {
        match self {
            Self::Trice(driver) | Self::LlamaVulkan(driver) => Some(&driver.name),
            Self::TricePage(browser) | Self::WllamaWebGpu(browser) | Self::TransformersWebGpu(browser) => {
                Some(browser.adapter())
            }
            Self::LlamaCpu | Self::WllamaWasm | Self::TransformersWasm => None,
        }
    }

    /// `native llvmpipe`, `Chromium swiftshader`.
    pub(super) fn place(&self) -> String {
        let kind =
            if matches!(self, Self::Trice(_) | Self::LlamaVulkan(_) | Self::LlamaCpu) { "native" } else { "Chromium" };
        format!("{kind} {}", self.adapter().unwrap_or("CPU"))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.adapter().map_or(Ok(()), |adapter| write!(f, " on {adapter}"))
    }
}

/// Programs that take turns on one model.
pub(super) struct Contest {
    pub(super) model: Model,
    pub(super) counts: Counts,
    /// Trice, a peer, and what is compared.
    pub(super) rows: Vec<(Subject, Subject, Test)>,
}

impl Contest {
    /// Each of `ours` is compared with the peers on the same adapter and with those on the CPU.
    fn new(model: Model, counts: Counts, ours: &[Subject], peers: &[Subject]) -> Self {
        let mut rows = Vec::new();
        for ours in ours {
            for &test in counts.tests() {
                let comparable = |peer: &&Subject| peer.adapter().is_none() || peer.adapter() == ours.adapter();
                rows.extend(peers.iter().filter(comparable).map(|peer| (ours.clone(), peer.clone(), test)));
            }
        }
        Self { model, counts, rows }
    }

    /// Leaves the rows whose names hold all of `words`.
    pub(super) fn keep(&mut self, words: &[String]) {
        let mut names = self.names().into_iter();
        self.rows.retain(|_| names.next().is_some_and(|name| words.iter().all(|word| name.contains(word))));
    }

    /// The rows' names: place, model, test, peer.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |(ours, peer, test): &(Subject, Subject, Test)| {
            format!("{} {} {} {}", ours.place(), self.model, self.counts.name(*test), peer.name())
        };
        self.rows.iter().map(name).collect()
    }

    /// Everybody in the rows, once each: a program and its peers one after the other.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = Vec::new();
        for subject in self.rows.iter().flat_map(|(ours, peer, _)| [ours, peer]) {
            if !subjects.contains(subject) {
                subjects.push(subject.clone());
            }
        }
        subjects
    }
}

const LLAMAS: [(&str, &str, Counts); 5] = {
    let small = Counts { prompt: 64, generate: 16, batch: 1 };
    let large = Counts { prompt: 64, generate: 8, batch: 1 };
    [
        ("15m", "Q4_0", small),
        ("15m", "Q8_0", small),
        ("135m", "Q4_0", large),
        ("135m", "Q8_0", large),
        ("110m", "Q4_K_M", large),
    ]
};

/// All comparisons; `drivers` are those of native programs.
pub(super) fn all(drivers: &[Driver]) -> Vec<Contest> {
    let native = || drivers.iter().cloned().map(Subject::Trice);
    let pages = || Browser::ALL.into_iter().map(Subject::TricePage);
    let mut contests = Vec::new();
    for (shape, quant, counts) in LLAMAS {
        let model = Model::Llama { shape, quant };
        let peers = drivers.iter().cloned().map(Subject::LlamaVulkan).chain([Subject::LlamaCpu]);
        contests.push(Contest::new(model, counts, &native().collect::<Vec<_>>(), &peers.collect::<Vec<_>>()));
        let mut peers: Vec<Subject> = Browser::ALL.into_iter().map(Subject::WllamaWebGpu).collect();
        peers.push(Subject::WllamaWasm);
        if (shape, quant) == ("15m", "Q4_0") {
            peers.extend(Browser::ALL.into_iter().map(Subject::TransformersWebGpu));
        }
        contests.push(Contest::new(model, counts, &pages().collect::<Vec<_>>(), &peers));
    }
    for batch in [1, 8, 32] {
        let ours: Vec<Subject> = pages().chain(native()).collect();
        let mut peers: Vec<Subject> = Browser::ALL.into_iter().map(Subject::TransformersWebGpu).collect();
        peers.push(Subject::TransformersWasm);
        contests.push(Contest::new(Model::MiniLm, Counts { prompt: 128, generate: 0, batch }, &ours, &peers));
    }
    contests
}

#[cfg(test)]
mod contest_tests {
    use super::*;

    fn rows(words: &[&str]) -> Vec<(String, String, &'static str)> {
        let words: Vec<String> = words.iter().map(|word| (*word).into()).collect();
        let mut contests = all(&[]);
        contests.iter_mut().for_each(|contest| contest.keep(&words));
        let row = |(ours, peer, test): &(Subject, Subject, Test), counts: Counts| {
            (ours.place(), counts.name(*test), peer.name())
        };
        contests.iter().flat_map(|contest| contest.rows.iter().map(|r| row(r, contest.counts))).collect()
    }

    #[test]
    fn peers_meet_trice_on_the_same_adapter_or_on_the_cpu() {
        let found = rows(&["15m Q8_0 pp64"]);
        let place = |name: &str| format!("Chromium {name}");
        let expected = [
            (place("llvmpipe"), "pp64".into(), "wllama WebGPU"),
            (place("llvmpipe"), "pp64".into(), "wllama wasm, 1 thread"),
            (place("swiftshader"), "pp64".into(), "wllama WebGPU"),
            (place("swiftshader"), "pp64".into(), "wllama wasm, 1 thread"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn words_narrow_the_rows_down() {
        assert_eq!(rows(&["MiniLM", "× 8", "WebGPU", "llvmpipe"]).len(), 1);
        assert!(rows(&["MiniLM", "tg"]).is_empty());
    }

    #[test]
    fn everybody_takes_part_once() {
        let contests = all(&[]);
        let subjects = contests[1].subjects();
        assert_eq!(subjects[0], Subject::TricePage(Browser::Lavapipe));
        assert_eq!(subjects.iter().filter(|subject| **subject == Subject::WllamaWasm).count(), 1);
    }
}
