//! Loading: weights stream while shaders compile, what is wrong ends both, and nothing is begun for a model that is refused.

use crate::common::gpu::{block_on, raw_gpu, test_gpu};
use crate::common::toy::Toy;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};
use trice::format::Checkpoint;
use trice::gpu::Gpu;
use trice::hub::ModelFiles;
use trice::session::{GenerateOptions, LoadOptions, Progress, Session, Stage};
use trice::source::{LocalFuture, MemorySource, Source};
use trice::tasks::{Scaling, TextEncoder};
use trice::{Error, Result};

/// A file on a slow or broken line: every read takes `pause`, and fails once `n_left` are done.
struct Line {
    file: MemorySource,
    pause: Cell<Duration>,
    n_left: Cell<usize>,
}

impl Source for Line {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, len: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            std::thread::sleep(self.pause.get());
            let left = self.n_left.get().checked_sub(1).ok_or_else(|| {
                let source = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the line broke");
                Error::Io { what: self.name().to_owned(), source }
            })?;
            self.n_left.set(left);
            self.file.read(offset, len).await
        })
    }
}

/// A toy behind a line that is good until its header is read.
fn behind_a_line(toy: &Toy) -> (Checkpoint, Rc<Line>) {
    let file = MemorySource::new("toy.gguf", toy.gguf());
    let line = Rc::new(Line { file, pause: Cell::default(), n_left: Cell::new(usize::MAX) });
    let files = ModelFiles { name: "toy".to_owned(), weights: vec![line.clone()], side: BTreeMap::new() };
    (block_on(Checkpoint::open(files)).unwrap(), line)
}

fn fresh_gpu() -> Option<Rc<Gpu>> {
    raw_gpu().map(Rc::new)
}

/// Seconds of reading and of what follows it.
fn timed(gpu: &Rc<Gpu>, checkpoint: &Checkpoint) -> (f64, f64) {
    let (start, mut read) = (Instant::now(), 0.0);
    let mut hear = |progress: Progress| {
        if progress.stage == Stage::Reading {
            read = start.elapsed().as_secs_f64();
        }
    };
    block_on(Session::load(gpu, checkpoint, &LoadOptions::default(), &mut hear)).unwrap();
    (read, start.elapsed().as_secs_f64() - read)
}

#[test]
fn shaders_compile_while_weights_are_read() {
    let (Some(first), Some(second)) = (fresh_gpu(), fresh_gpu()) else { return };
    let toy = Toy::llama();
    let (quick, compiling) = timed(&first, &toy.open());
    let (checkpoint, line) = behind_a_line(&toy);
    // So slow that shaders have more than the time they took alone.
    line.pause.set(Duration::from_secs_f64(1.5 * (quick + compiling) / checkpoint.tensors().count() as f64));
    let (slow, rest) = timed(&second, &checkpoint);
    let (quick, compiling, slow, rest) = (quick * 1e3, compiling * 1e3, slow * 1e3, rest * 1e3);
    println!("from memory: {quick:.0} ms, then {compiling:.0}; from a slow line: {slow:.0} ms, then {rest:.0}");
    assert!(rest < compiling / 2.0, "after {slow:.0} ms of reading, {rest:.0} ms were left of {compiling:.0}");
}

#[test]
fn progress_counts_bytes_then_shaders_to_the_end() {
    let Some(gpu) = fresh_gpu() else { return };
    for _ in ["all shaders are new", "all are known"] {
        let mut heard: Vec<Progress> = Vec::new();
        let toy = Toy::llama();
        block_on(Session::load(&gpu, &toy.open(), &LoadOptions::default(), &mut |p| heard.push(p))).unwrap();
        let (bytes, shaders): (Vec<_>, Vec<_>) = heard.iter().partition(|progress| progress.stage == Stage::Reading);
        assert!(heard[..bytes.len()].iter().all(|progress| progress.stage == Stage::Reading), "bytes come first");
        for events in [bytes, shaders] {
            assert!(events.is_sorted_by_key(|progress: &&Progress| progress.done), "{events:?}");
            let last = events.last().unwrap();
            assert_eq!(last.done, last.total);
        }
    }
}

#[test]
fn a_download_that_breaks_ends_the_load_with_its_error() {
    let Some(gpu) = test_gpu() else { return };
    for n_reads in [0, 1, 7] {
        let (checkpoint, line) = behind_a_line(&Toy::llama());
        line.n_left.set(n_reads);
        let broken = block_on(Session::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {}));
        let error = broken.map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.to_string() == "the line broke"), "{error}");
        let (checkpoint, line) = behind_a_line(&Toy::bert());
        line.n_left.set(n_reads);
        let broken = block_on(TextEncoder::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {}));
        assert!(matches!(broken.map(|_| ()).unwrap_err(), Error::Io { .. }));
    }
    // What was begun for the broken ones is no hindrance.
    let mut session =
        block_on(Session::load(&gpu, &Toy::llama().open(), &LoadOptions::default(), &mut |_| {})).unwrap();
    let options = GenerateOptions { max_tokens: Some(4), ignore_end: true, ..GenerateOptions::default() };
    let answer = block_on(session.generate(&[72, 101], &options, &mut |_| ControlFlow::Continue(()))).unwrap();
    assert_eq!(answer.tokens.len(), 4);
    let mut encoder =
        block_on(TextEncoder::load(&gpu, &Toy::bert().open(), &LoadOptions::default(), &mut |_| {})).unwrap();
    assert_eq!(block_on(encoder.embed(&["a b"], None, Scaling::Unit)).unwrap().len(), 1);
}

/// What the last tensor's shape says is known from the header: nothing is read for a model that lacks a part.
#[test]
fn a_model_that_is_refused_is_not_read() {
    let Some(gpu) = test_gpu() else { return };
    for name in ["blk.1.ffn_down.weight", "output_norm.weight"] {
        let mut toy = Toy::llama();
        toy.tensors.remove(name).unwrap();
        let (checkpoint, line) = behind_a_line(&toy);
        line.n_left.set(0);
        let refused = block_on(Session::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |progress| {
            panic!("{progress:?} of a model without {name}");
        }));
        let error = refused.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// Loads a toy on a device of its own that was given `kept`, and returns what it wants kept.
fn kept_after(kept: Option<&[u8]>) -> Option<Vec<u8>> {
    let gpu = fresh_gpu()?;
    gpu.pipelines_file()?;
    let new = Rc::new(RefCell::new(None));
    let heard = new.clone();
    gpu.keep_pipelines(kept, move |bytes| *heard.borrow_mut() = Some(bytes.to_vec()));
    let start = Instant::now();
    let mut session =
        block_on(Session::load(&gpu, &Toy::llama().open(), &LoadOptions::default(), &mut |_| {})).unwrap();
    let options = GenerateOptions { max_tokens: Some(4), ignore_end: true, ..GenerateOptions::default() };
    let answer = block_on(session.generate(&[72, 101], &options, &mut |_| ControlFlow::Continue(()))).unwrap();
    assert_eq!(answer.tokens.len(), 4);
    let n_kept = kept.map_or(0, <[u8]>::len);
    println!("given {n_kept} bytes: loaded in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    new.take()
}

#[test]
fn compiled_shaders_are_kept_and_broken_files_of_them_ignored() {
    let new = kept_after(None);
    let file = new.as_deref().unwrap_or(b"a checksum of 32 bytes, and then what the driver had to say");
    let mut flipped = file.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    for broken in [&file[..file.len() / 2], flipped.as_slice(), b""] {
        assert_eq!(kept_after(Some(broken)).is_some(), new.is_some(), "as if nothing had been kept");
    }
    match &new {
        Some(kept) => assert_eq!(kept_after(Some(kept)), None, "a driver that finds them all has nothing to add"),
        None => println!("skipped: this driver hands no compiled shaders out"),
    }
}
