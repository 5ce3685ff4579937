//! The interactive chat: reading lines, the slash commands, and the conversation so far.

use super::chat::Chat;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::str::FromStr;
use trice::session::{FinishReason, GenerateOptions, Overflow, Session};
use trice::text::{Message, SamplingParams};

const HELP: &str = "\
/help              this list
/clear             forget the conversation
/set NAME VALUE    temp, top-k, top-p, min-p, repeat-penalty, seed, max-tokens, or system
/bye               leave (so do Ctrl-D, and Ctrl-C twice)
Ctrl-C             stop the answer";

/// What a typed line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Nothing,
    Help,
    Bye,
    Clear,
    Set { name: &'a str, value: &'a str },
    Unknown(&'a str),
    Text(&'a str),
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let line = line.trim();
        if !line.starts_with('/') {
            return if line.is_empty() { Self::Nothing } else { Self::Text(line) };
        }
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match command {
            "/help" | "/?" => Self::Help,
            "/bye" | "/exit" | "/quit" => Self::Bye,
            "/clear" => Self::Clear,
            "/set" => {
                let (name, value) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
                Self::Set { name, value: value.trim() }
            }
            other => Self::Unknown(other),
        }
    }
}

/// The conversation and how answers are made.
struct Turns {
    system: Option<String>,
    messages: Vec<Message>,
    options: GenerateOptions,
}

impl Turns {
    /// The system message, if any, and all turns.
    fn conversation(&self) -> Vec<Message> {
        self.system.iter().map(|text| message("system", text)).chain(self.messages.iter().cloned()).collect()
    }

    /// Drops the oldest turns, a question with its answer each, while the conversation `is_long`; the last question stays.
    fn forget_while(&mut self, is_long: impl Fn(&[Message]) -> bool) -> usize {
        let mut n = 0;
        while self.messages.len() > 2 && is_long(&self.conversation()) {
            self.messages.drain(..2);
            n += 1;
        }
        n
    }

    /// Changes one setting; the error is a sentence for the user.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let mut sampling = self.options.sampling;
        match name {
            "temp" => sampling.temperature = number(name, value)?,
            "top-k" => sampling.top_k = number(name, value)?,
            "top-p" => sampling.top_p = number(name, value)?,
            "min-p" => sampling.min_p = number(name, value)?,
            "repeat-penalty" => sampling.repeat_penalty = number(name, value)?,
            "seed" => sampling.seed = number(name, value)?,
            "max-tokens" => self.options.max_tokens = Some(number(name, value)?),
            "system" => self.system = Some(value.to_string()).filter(|text| !text.is_empty()),
            _ => return Err(format!("no setting {name:?}; /help lists them")),
        }
        SamplingParams::validate(&sampling).map_err(|error| error.to_string())?;
        self.options.sampling = sampling;
        Ok(())
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} needs a number, not {value:?}"))
}

fn message(role: &str, content: &str) -> Message {
    Message { role: role.to_string(), content: content.to_string() }
}

/// Reads lines and answers them until the user leaves.
pub(crate) fn run(
    chat: &Chat<'_>,
    session: &mut Session,
    options: GenerateOptions,
    system: Option<String>,
) -> anyhow::Result<()> {
    let mut turns = Turns { system, messages: Vec::new(), options };
    let mut editor = DefaultEditor::new()?;
    let mut interrupted = false;
    chat.interrupt.disarm();
    chat.context.note(&format!("{}. /help lists commands.", session.info().name));
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) if interrupted => return Err(trice::Error::Cancelled.into()),
            Err(ReadlineError::Interrupted) => {
                interrupted = true;
                chat.context.note("(Ctrl-C again or /bye leaves)");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        interrupted = false;
        // A line that the editor cannot remember is still a line.
        let _ = editor.add_history_entry(&line);
        match Line::parse(&line) {
            Line::Nothing => {}
            Line::Help => chat.context.note(HELP),
            Line::Bye => return Ok(()),
            Line::Clear => turns.messages.clear(),
            Line::Set { name, value } => {
                if let Err(reason) = turns.set(name, value) {
                    chat.context.note(&reason);
                }
            }
            Line::Unknown(command) => chat.context.note(&format!("no command {command}; /help lists them")),
            Line::Text(text) => turn(chat, session, &mut turns, text)?,
        }
    }
}

/// One question and its answer. What goes wrong with it is said, and the conversation stays as it was.
fn turn(chat: &Chat<'_>, session: &mut Session, turns: &mut Turns, text: &str) -> anyhow::Result<()> {
    turns.messages.push(message("user", text));
    let answer = prompt(chat, session, turns).and_then(|prompt| chat.answer(session, &prompt, turns.options.clone()));
    chat.interrupt.rest();
    match answer {
        Ok(answer) => {
            if answer.finish_reason == FinishReason::Cancelled {
                chat.context.note("(stopped)");
            }
            turns.messages.push(message("assistant", &answer.text));
            Ok(())
        }
        // Without a terminal or a GPU there is no next turn.
        Err(error) if error.is::<std::io::Error>() => Err(error),
        Err(error) if matches!(error.downcast_ref(), Some(trice::Error::Gpu { .. })) => Err(error),
        Err(error) => {
            turns.messages.pop();
            chat.context.note(&format!("error: {error}"));
            if let Some(trice::Error::Limit { .. }) = error.downcast_ref() {
                chat.context.note("/clear starts a new conversation");
            }
            Ok(())
        }
    }
}

/// The prompt of the conversation. Where the context is full and may be shifted, the oldest turns go until half of it is free: the
/// next turns are then read behind what is cached.
fn prompt(chat: &Chat<'_>, session: &Session, turns: &mut Turns) -> anyhow::Result<Vec<u32>> {
    let prompt = chat.prompt(session, &turns.conversation())?;
    let context_len = session.info().context_len;
    if turns.options.overflow != Overflow::Shift || chat.raw || prompt.len() < context_len {
        return Ok(prompt);
    }
    // Without a template there are no turns, and tokens go instead.
    let is_long = |turns: &[Message]| {
        session.chat_prompt(turns, &chat.template).is_ok_and(|prompt| prompt.len() > context_len / 2)
    };
    match turns.forget_while(is_long) {
        0 => Ok(prompt),
        n => {
            chat.context.note(&format!("note: the context was full: the oldest {n} turns are forgotten"));
            chat.prompt(session, &turns.conversation())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns() -> Turns {
        Turns { system: None, messages: Vec::new(), options: GenerateOptions::default() }
    }

    #[test]
    fn lines_are_text_or_commands() {
        assert_eq!(Line::parse("  "), Line::Nothing);
        assert_eq!(Line::parse(" hello /bye"), Line::Text("hello /bye"));
        assert_eq!(Line::parse("/bye"), Line::Bye);
        assert_eq!(Line::parse("/set  temp   0.5 "), Line::Set { name: "temp", value: "0.5" });
        assert_eq!(Line::parse("/set"), Line::Set { name: "", value: "" });
        assert_eq!(Line::parse("/frobnicate now"), Line::Unknown("/frobnicate"));
    }

    #[test]
    fn settings_take_effect() {
        let mut turns = turns();
        turns.set("temp", "0.25").unwrap();
        turns.set("max-tokens", "7").unwrap();
        turns.set("system", "be brief").unwrap();
        assert_eq!(turns.options.sampling.temperature, 0.25);
        assert_eq!(turns.options.max_tokens, Some(7));
        assert_eq!(turns.conversation(), [message("system", "be brief")]);
    }

    #[test]
    fn the_oldest_turns_are_forgotten_whole() {
        let conversation = |n: usize| {
            let roles = ["user", "assistant"].iter().cycle();
            let messages = roles.zip(0..n).map(|(role, i)| message(role, &i.to_string())).collect();
            Turns { system: Some("be brief".to_string()), messages, ..turns() }
        };
        let longer_than = |n: usize| move |turns: &[Message]| turns.len() > n;
        let mut turns = conversation(7);
        assert_eq!(turns.forget_while(longer_than(8)), 0);
        assert_eq!(turns.forget_while(longer_than(4)), 2);
        assert_eq!(turns.conversation()[..2], [message("system", "be brief"), message("user", "4")]);
        // What is asked now is never forgotten.
        assert_eq!(turns.forget_while(longer_than(0)), 1);
        assert_eq!(turns.messages, [message("user", "6")]);
    }

    #[test]
    fn a_bad_setting_is_named_and_changes_nothing() {
        let mut turns = turns();
        let before = turns.options.sampling;
        assert!(turns.set("temp", "-1").unwrap_err().contains("temperature"));
        assert!(turns.set("top-k", "many").unwrap_err().contains("top-k"));
        assert!(turns.set("heat", "1").unwrap_err().contains("heat"));
        assert_eq!(turns.options.sampling, before);
    }
}
