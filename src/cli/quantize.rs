//! `trice quantize`: a model to a GGUF file with smaller weights. A GPU only to calibrate.

use super::Usage;
use super::args::QuantizeArgs;
use super::context::{Context, Output, human_bytes};
use super::interrupt::Interrupt;
use super::model;
use super::progress::Bar;
use super::texts::read_file;
use anyhow::Context as _;
use serde::Serialize;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use trice::export::{Written, write_gguf};
use trice::measure::calibrate;
use trice::session::Cancel;
use trice::{Checkpoint, LoadOptions, Session};

/// Tensors that a note names at most.
const NAMED: usize = 3;

/// What `quantize --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    file: String,
    #[serde(rename = "type")]
    mix: &'a str,
    file_bytes: u64,
    bits_per_weight: f64,
    #[serde(flatten)]
    written: Written,
}

pub(crate) fn run(context: &Context, args: QuantizeArgs) -> anyhow::Result<()> {
    if args.out.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("gguf")) {
        return Err(Usage(format!("a file that ends in .gguf wanted, found {}", args.out.display())).into());
    }
    let interrupt = Interrupt::install()?;
    let bar = Bar::new(context);
    let cancel = interrupt.arm();
    let mut show = |progress| bar.download(&progress);
    let checkpoint = pollster::block_on(model::open_checkpoint(&args.model, &mut show))?;
    refuse_own_files(&checkpoint, &args.out)?;
    let checkpoint = match &args.calibration {
        Some(text) => pollster::block_on(weighed(context, checkpoint, text, &cancel, &bar))?,
        None => checkpoint,
    };
    let mix = args.embeddings.map_or(args.mix, |dtype| args.mix.with_embeddings(dtype));
    let unfinished = Unfinished::new(&args.out)?;
    let name = args.out.display().to_string();
    let written = pollster::block_on(write_gguf(checkpoint, &mix, unfinished.writer()?, &name, &mut |done, total| {
        bar.bytes("Writing", done, total);
        cancel.check()
    }))?;
    let file_bytes = unfinished.keep()?;
    bar.clear();
    let bits_per_weight = 8.0 * written.weight_bytes as f64 / written.n_params.max(1) as f64;
    let report = Report { model: &args.model, file: name, mix: mix.name, file_bytes, bits_per_weight, written };
    match context.output {
        Output::Json => context.print_json(&report),
        Output::Text => print(context, &report),
    }
}

/// Runs the model over a text, to learn which of its weights matter.
async fn weighed(
    context: &Context,
    checkpoint: Checkpoint,
    text: &Path,
    cancel: &Cancel,
    bar: &Bar,
) -> anyhow::Result<Checkpoint> {
    let text = read_file(text)?;
    let options = LoadOptions { cancel: cancel.clone(), ..LoadOptions::default() };
    let gpu = context.open_gpu().await?;
    let mut session = Session::load(&gpu, &checkpoint, &options, &mut |progress| bar.load(progress)).await?;
    let ids = session.tokenizer().encode_text(&text)?;
    let mut on_tokens = |done, total| {
        bar.count("Calibrating, tokens", done, total);
        cancel.check()
    };
    let importance = calibrate(&mut session, &checkpoint, &ids, &mut on_tokens).await?;
    Ok(checkpoint.weighed(importance))
}

fn print(context: &Context, report: &Report<'_>) -> anyhow::Result<()> {
    let Report { file, mix, file_bytes, bits_per_weight, written, .. } = report;
    if let Some((_, dtype)) = written.fell_back.first() {
        let (n, names) = (written.fell_back.len(), named(written.fell_back.iter().map(|(name, _)| name)));
        context.note(&format!("{n} matrices have rows of no whole blocks and became {dtype} or the like: {names}"));
    }
    if !written.left_out.is_empty() {
        let (n, names) = (written.left_out.len(), named(written.left_out.iter()));
        context.note(&format!("{n} tensors are used by nothing in such a file and were left out: {names}"));
    }
    let bytes = human_bytes(*file_bytes);
    context
        .print(&format!("{file}: {mix}, {bytes}, {bits_per_weight:.2} bits per weight, {} weights", written.n_params))
}

/// The first few names.
fn named<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = if names.len() > NAMED { ", …" } else { "" };
    names.take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ") + more
}

/// Writing over what is being read would lose both.
fn refuse_own_files(checkpoint: &Checkpoint, out: &Path) -> anyhow::Result<()> {
    let Ok(own) = fs::canonicalize(out) else { return Ok(()) };
    let is_own = |name: &str| fs::canonicalize(name).is_ok_and(|path| path == own);
    if checkpoint.file_names().any(is_own) {
        return Err(Usage(format!("{} is what is read: another name wanted", out.display())).into());
    }
    Ok(())
}

/// A file under a name of its own beside the one it shall have, removed unless it is kept.
struct Unfinished {
    at: PathBuf,
    to: PathBuf,
}

impl Unfinished {
    fn new(to: &Path) -> anyhow::Result<Self> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let at = to.with_file_name(format!(".{name}.{}.part", std::process::id()));
        File::create(&at).with_context(|| format!("writing {}", to.display()))?;
        Ok(Self { at, to: to.to_owned() })
    }

    fn writer(&self) -> anyhow::Result<BufWriter<File>> {
        let file = File::options().write(true).open(&self.at);
        Ok(BufWriter::new(file.with_context(|| format!("writing {}", self.to.display()))?))
    }

    /// Gives it its name, and tells its length.
    fn keep(self) -> anyhow::Result<u64> {
        let name = || format!("writing {}", self.to.display());
        let file = File::open(&self.at).with_context(name)?;
        file.sync_all().with_context(name)?;
        let len = file.metadata().with_context(name)?.len();
        fs::rename(&self.at, &self.to).with_context(name)?;
        Ok(len)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Kept, it has another name by now.
        let _ = fs::remove_file(&self.at);
    }
}
