//! `trice pull`: a model into the cache.

use super::args::ModelArg;
use super::context::{Context, Output, human_bytes};
use super::progress::Bar;
use serde::Serialize;
use trice::hub::{self, HubOptions, ModelFiles, ModelName};

/// What `pull --json` prints.
#[derive(Serialize)]
struct Pulled<'a> {
    model: &'a str,
    /// Where the weights and the other files lie.
    files: Vec<&'a str>,
    bytes: u64,
}

pub(crate) fn run(context: &Context, args: &ModelArg) -> anyhow::Result<()> {
    let name = ModelName::parse(&args.model)?;
    if let ModelName::Random(_) = name {
        return Err(trice::Error::invalid(format!("{}: a random model has no files to download", args.model)).into());
    }
    let bar = Bar::new(context);
    // Ctrl-C simply ends the program here: a partial download is kept and resumed by the next `pull`.
    let files = pollster::block_on(hub::open(&name, &HubOptions::default(), &mut |progress| bar.download(&progress)))?;
    bar.clear();
    print(context, &files)
}

fn print(context: &Context, files: &ModelFiles) -> anyhow::Result<()> {
    let all = || files.weights.iter().chain(files.side.values());
    let bytes = all().map(|source| source.len()).sum();
    match context.output {
        Output::Json => {
            let files_at = all().map(|source| source.name()).collect();
            context.print_json(&Pulled { model: &files.name, files: files_at, bytes })
        }
        Output::Text => {
            for source in &files.weights {
                context.print(source.name())?;
            }
            context.note(&format!("{}: {}", files.name, human_bytes(bytes)));
            Ok(())
        }
    }
}
