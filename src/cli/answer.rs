//! `trice answer`: answers that stand in a text.

use super::args::AnswerArgs;
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::notes::Notes;
use super::texts::{read_file, read_stdin};
use super::{Usage, model};
use trice::tasks::AnswerOptions;

pub(crate) fn run(context: &Context, args: &AnswerArgs) -> anyhow::Result<()> {
    let text = match (&args.context, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) if file.as_os_str() != "-" => read_file(file)?,
        (None, _) => read_stdin()?,
    };
    if text.trim().is_empty() || args.question.trim().is_empty() {
        return Err(Usage("a question and a context are wanted, neither of them empty".to_string()).into());
    }
    let options = AnswerOptions {
        top: args.top as usize,
        max_answer_len: args.max_answer_len as usize,
        stride: args.stride,
        no_answer: args.no_answer,
        ..AnswerOptions::default()
    };
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut encoder = model::load_encoder(context, &args.model, &args.weights, &interrupt).await?;
        encoder.set_cancel(interrupt.arm());
        let answered = encoder.answer(&args.question, &text, &options).await?;
        match context.output {
            Output::Json => context.print_json(&answered)?,
            Output::Text => {
                for answer in &answered.answers {
                    let shown = if answer.answer.is_empty() { "(no answer)" } else { &answer.answer };
                    let (score, start, end) = (answer.score, answer.start, answer.end);
                    context.print(&format!("  {score:.4}  {shown}  ({start}..{end})"))?;
                }
            }
        }
        let mut notes = Notes::default();
        notes.add(&answered.reading);
        notes.say(context);
        Ok(())
    })
}
