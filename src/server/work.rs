//! What the engine does for a request, on its own thread.

use super::engine::Job;
use super::error::ApiError;
use super::metrics::{Running, Waiting};
use super::models::Loaded;
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use trice::Error;
use trice::session::{
    AnswerPrompt, Cancel, FinishReason, GenerateOptions, Generation, ModelInfo, OnPiece, Overflow, Piece, Session,
    StepLogprobs,
};
use trice::tasks::choices::LikelihoodClassifier;
use trice::tasks::{
    AnswerOptions, Answered, Classified, ClassifyOptions, EmbedOptions, Embedded, FillOptions, Filled, Ranked,
    TagOptions, Tagged, TextEncoder,
};
use trice::text::ChatOptions;

/// The kinds of requests, each with the channel its answer goes to.
pub(crate) enum Work {
    Generate { prompt: Prompt, options: Box<GenerateOptions>, events: mpsc::UnboundedSender<Event> },
    Embed { texts: Vec<String>, reply: Reply<Embedded> },
    Classify { texts: Vec<String>, options: ClassifyOptions, reply: Reply<Classified> },
    Tag { texts: Vec<String>, options: TagOptions, reply: Reply<Tagged> },
    Answer { question: String, context: String, options: AnswerOptions, reply: Reply<Answered> },
    Rank { query: String, documents: Vec<String>, reply: Reply<Ranked> },
    Fill { texts: Vec<String>, options: FillOptions, reply: Reply<Filled> },
}

/// Where the results of several texts go.
pub(crate) type Reply<T> = oneshot::Sender<Result<Vec<T>, ApiError>>;

/// A prompt as the client gave it.
#[derive(Debug)]
pub(crate) enum Prompt {
    /// A conversation.
    Messages {
        /// As `read_messages` gives them.
        messages: Vec<Value>,
        /// What else its template is to know.
        template: ChatOptions,
        /// The last message is the beginning of the answer.
        goes_on: bool,
    },
    /// A text to continue.
    Text(String),
    /// Token ids.
    Ids(Vec<u32>),
}

/// What a generation tells the request that waits for it. At most one context's worth, so the channel needs no bound.
pub(crate) enum Event {
    /// The prompt is accepted: what follows is the answer.
    Started {
        prompt_tokens: usize,
        /// The answer begins inside a thought.
        opens_reasoning: bool,
    },
    Piece {
        text: String,
        logprobs: Vec<StepLogprobs>,
    },
    Done {
        finish_reason: FinishReason,
        counts: Counts,
    },
    Failed(ApiError),
}

/// Tokens of a generation.
pub(crate) struct Counts {
    pub(crate) tokens: usize,
    /// Left out of prompt and answer because the context was full.
    pub(crate) dropped_tokens: usize,
    /// Of the prompt, those that the cache held already.
    pub(crate) cached_tokens: usize,
}

impl Work {
    /// Answers with an error.
    pub(crate) fn fail(self, error: &ApiError) {
        // A client that is gone needs no answer.
        match self {
            Self::Generate { events, .. } => drop(events.send(Event::Failed(error.clone()))),
            Self::Embed { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Classify { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Tag { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Answer { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Rank { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Fill { reply, .. } => drop(reply.send(Err(error.clone()))),
        }
    }
}

/// Does the work and answers. The error is for the engine, which must know of a broken device.
pub(crate) async fn perform(model: &mut Loaded, job: Job) -> trice::Result<()> {
    let Job { cancel, deadline, waiting, work, .. } = job;
    match (model, work) {
        (Loaded::Decoder(session), Work::Generate { prompt, options, events }) => {
            let run = Run::new(events, deadline, waiting);
            let result = run.generate(session, &prompt, GenerateOptions { cancel, ..*options }).await;
            result.inspect_err(|error| run.fail(error))
        }
        (Loaded::Encoder(encoder), work) => {
            waiting.begin();
            encoder.set_cancel(cancel);
            encode(encoder, work).await
        }
        (Loaded::Decoder(session), Work::Classify { texts, options, reply }) => {
            waiting.begin();
            answer(classify_by_likelihood(session, &texts, &options, &cancel).await, reply)
        }
        (Loaded::Decoder(_), work) => {
            work.fail(&unfit());
            Ok(())
        }
    }
}

async fn encode(encoder: &mut TextEncoder, work: Work) -> trice::Result<()> {
    match work {
        Work::Embed { texts, reply } => {
            // OpenAI's vectors have length 1.
            let options = EmbedOptions { normalize: true, ..EmbedOptions::default() };
            answer(encoder.embed_texts(&borrowed(&texts), &options).await, reply)
        }
        Work::Classify { texts, options, reply } => answer(encoder.classify(&borrowed(&texts), &options).await, reply),
        Work::Tag { texts, options, reply } => answer(encoder.tag(&borrowed(&texts), &options).await, reply),
        Work::Answer { question, context, options, reply } => {
            answer(encoder.answer(&question, &context, &options).await.map(|answered| vec![answered]), reply)
        }
        Work::Rank { query, documents, reply } => answer(encoder.rank(&query, &borrowed(&documents)).await, reply),
        Work::Fill { texts, options, reply } => answer(encoder.fill(&borrowed(&texts), &options).await, reply),
        Work::Generate { .. } => {
            work.fail(&unfit());
            Ok(())
        }
    }
}

fn unfit() -> ApiError {
    ApiError::invalid("model", "this model does not do that")
}

fn answer<T>(result: trice::Result<T>, reply: oneshot::Sender<Result<T, ApiError>>) -> trice::Result<()> {
    let (answer, result) = match result {
        Ok(value) => (Ok(value), Ok(())),
        Err(error) => (Err(ApiError::from(&error)), Err(error)),
    };
    let _ = reply.send(answer);
    result
}

/// A generation under way, alone or beside others.
pub(crate) struct Run {
    events: mpsc::UnboundedSender<Event>,
    deadline: Instant,
    start: Instant,
    running: Running,
}

impl Run {
    pub(crate) fn new(events: mpsc::UnboundedSender<Event>, deadline: Instant, waiting: Waiting) -> Self {
        Self { events, deadline, start: Instant::now(), running: waiting.begin_answer() }
    }

    /// Hands an event to the request, if it still waits.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Ends it with what went wrong.
    pub(crate) fn fail(&self, error: &Error) {
        self.tell(Event::Failed(ApiError::from(error)));
    }

    /// The prompt as ids, with the answer's length cut to the context's; none when the request was refused.
    pub(crate) fn accept(
        &self,
        session: &Session,
        prompt: &Prompt,
        options: &mut GenerateOptions,
    ) -> trice::Result<Option<Vec<u32>>> {
        let AnswerPrompt { ids, is_reasoning } = prompt.read(session)?;
        let checked = check_prompt(&ids, session.info(), options.overflow);
        let checked = checked.and_then(|()| check_tools(session, prompt, options));
        match checked.and_then(|()| check_grammar(session, prompt, options)) {
            Ok(()) => {
                // An answer that shifts need never end, and nobody here would stop it.
                let most = session.info().context_len;
                options.max_tokens = Some(options.max_tokens.map_or(most, |wanted| wanted.min(most)));
                // An answer that must be of a form has no place for thoughts.
                let opens_reasoning = is_reasoning && options.grammar.is_none();
                self.tell(Event::Started { prompt_tokens: ids.len(), opens_reasoning });
                Ok(Some(ids))
            }
            Err(error) => {
                self.tell(Event::Failed(error));
                Ok(None)
            }
        }
    }

    /// Streams the pieces to the request until it is gone or out of time.
    pub(crate) fn on_piece(&self) -> OnPiece<'static> {
        let (events, deadline, mut on_token) = (self.events.clone(), self.deadline, self.running.on_token());
        Box::new(move |piece: Piece<'_>| {
            on_token();
            let (text, logprobs) = (piece.text.to_string(), piece.logprobs.to_vec());
            let gone = events.send(Event::Piece { text, logprobs }).is_err();
            if gone || Instant::now() > deadline { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// Ends it with a whole answer.
    pub(crate) fn finish(&self, answer: &Generation) {
        let (prompt_tokens, tokens) = (answer.prompt_tokens.len(), answer.tokens.len());
        let (queue_ms, ms) = (self.running.waited.as_millis(), self.start.elapsed().as_millis());
        self.running.finished(answer);
        tracing::info!(prompt_tokens, tokens, finish = ?answer.finish_reason, queue_ms, ms, "generated");
        self.tell(if Instant::now() > self.deadline {
            Event::Failed(ApiError::unavailable("timeout", "the request took too long"))
        } else {
            let cached_tokens = answer.timings.cached_tokens;
            let counts = Counts { tokens, dropped_tokens: answer.dropped_tokens, cached_tokens };
            Event::Done { finish_reason: answer.finish_reason, counts }
        });
    }

    async fn generate(
        &self,
        session: &mut Session,
        prompt: &Prompt,
        mut options: GenerateOptions,
    ) -> trice::Result<()> {
        let Some(ids) = self.accept(session, prompt, &mut options)? else { return Ok(()) };
        let answer = session.generate(&ids, &options, &mut self.on_piece()).await?;
        self.finish(&answer);
        Ok(())
    }
}

/// Refuses a prompt in words for clients; the library refuses the same.
fn check_prompt(ids: &[u32], model: &ModelInfo, overflow: Overflow) -> Result<(), ApiError> {
    if ids.is_empty() {
        return Err(ApiError::invalid("prompt", "the prompt is empty"));
    }
    if ids.iter().any(|id| *id as usize >= model.vocab_size) {
        let message =
            format!("the prompt holds a token id that is not below {}, the size of the vocabulary", model.vocab_size);
        return Err(ApiError::invalid("prompt", message));
    }
    if overflow == Overflow::Error && ids.len() >= model.context_len {
        return Err(ApiError::context_length(ids.len(), model.context_len));
    }
    Ok(())
}

/// Refuses tools that the model would not hear of, unless the answer is made a call anyway.
fn check_tools(session: &Session, prompt: &Prompt, options: &GenerateOptions) -> Result<(), ApiError> {
    match prompt {
        Prompt::Messages { template, .. } if options.grammar.is_none() => session.check_tools(&template.tools),
        _ => Ok(()),
    }
    .map_err(|error| ApiError::invalid("tools", format!("{error}; tool_choice \"required\" makes it call one anyway")))
}

/// Refuses a grammar while the answer can still have a status of its own.
fn check_grammar(session: &Session, prompt: &Prompt, options: &GenerateOptions) -> Result<(), ApiError> {
    let param = if prompt.has_tools() { "tools" } else { "response_format" };
    session.check_grammar(options).map_err(|error| ApiError::invalid(param, error.to_string()))
}

impl Prompt {
    fn has_tools(&self) -> bool {
        matches!(self, Self::Messages { template, .. } if !template.tools.is_empty())
    }

    fn read(&self, session: &Session) -> trice::Result<AnswerPrompt> {
        match self {
            Self::Messages { messages, template, goes_on } => match session.answer_prompt(messages, template, *goes_on)
            {
                // Without a template the model continues what was said, as `trice chat` does.
                Err(Error::Unsupported { .. }) => {
                    let said: Vec<&str> = messages.iter().filter_map(|message| message["content"].as_str()).collect();
                    Ok(session.raw_prompt(&said.join("\n"))?.into())
                }
                prompt => prompt,
            },
            Self::Text(text) => Ok(session.raw_prompt(text)?.into()),
            Self::Ids(ids) => Ok(ids.clone().into()),
        }
    }
}

async fn classify_by_likelihood(
    session: &mut Session,
    texts: &[String],
    options: &ClassifyOptions,
    cancel: &Cancel,
) -> trice::Result<Vec<Classified>> {
    LikelihoodClassifier::new(session, options).await?.classify_all(&borrowed(texts), cancel).await
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
