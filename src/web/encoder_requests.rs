//! The requests of an encoder's tasks that come from JS, and how each becomes the library's options; as `requests.rs` has them.

use crate::error::{Error, Result};
use crate::tasks::{
    Aggregation, AnswerOptions, ClassifyOptions, EmbedOptions, Explain, FillOptions, Long, Pooling, TagOptions, Unit,
};
use serde::Deserialize;

fn long(name: Option<&str>) -> Result<Long> {
    match name {
        None | Some("truncate") => Ok(Long::Truncate),
        Some("windows") => Ok(Long::Windows),
        Some(other) => Err(Error::invalid(format!("long must be truncate or windows, not {other}"))),
    }
}

/// `Engine.classify`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::web) struct ClassifyRequest {
    labels: Vec<String>,
    template: Option<String>,
    multi_label: bool,
    /// `truncate` or `windows`.
    long: Option<String>,
    explain: Explained,
}

/// Whether each text's best label is explained, or which label is.
#[derive(Deserialize)]
#[serde(untagged, expecting = "explain must be true, false or a label")]
enum Explained {
    Best(bool),
    Label(String),
}

impl Default for Explained {
    fn default() -> Self {
        Self::Best(false)
    }
}

impl ClassifyRequest {
    pub(in crate::web) fn options(self) -> Result<ClassifyOptions> {
        let explain = |label| Explain { label, unit: Unit::Utf16 };
        Ok(ClassifyOptions {
            long: long(self.long.as_deref())?,
            explain: match self.explain {
                Explained::Best(is_asked) => is_asked.then(|| explain(None)),
                Explained::Label(label) => Some(explain(Some(label))),
            },
            labels: self.labels,
            template: self.template,
            multi_label: self.multi_label,
        })
    }
}

/// `Engine.embed`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::web) struct EmbedRequest {
    /// `mean`, `cls` or `last`; none means the model's own.
    pooling: Option<String>,
    /// Scale every vector to length 1.
    normalize: bool,
    /// `truncate` or `windows`.
    long: Option<String>,
}

impl EmbedRequest {
    pub(in crate::web) fn options(&self) -> Result<EmbedOptions> {
        let pooling = match self.pooling.as_deref() {
            None => None,
            Some("mean") => Some(Pooling::Mean),
            Some("cls") => Some(Pooling::Cls),
            Some("last") => Some(Pooling::Last),
            Some(other) => return Err(Error::invalid(format!("pooling must be mean, cls or last, not {other}"))),
        };
        Ok(EmbedOptions { pooling, normalize: self.normalize, long: long(self.long.as_deref())? })
    }
}

/// `Engine.tag`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::web) struct TagRequest {
    /// `none`, `simple`, `first`, `average` or `max`.
    aggregation: Option<String>,
    /// `truncate` or `windows`.
    long: Option<String>,
    /// Tokens that neighbouring windows share.
    stride: Option<usize>,
}

impl TagRequest {
    pub(in crate::web) fn options(&self) -> Result<TagOptions> {
        let default = TagOptions::default();
        Ok(TagOptions {
            aggregation: self.aggregation.as_deref().map_or(Ok(default.aggregation), Aggregation::from_name)?,
            long: long(self.long.as_deref())?,
            stride: self.stride.unwrap_or(default.stride),
            unit: Unit::Utf16,
        })
    }
}

/// `Engine.answer`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::web) struct AnswerRequest {
    /// Answers at most.
    top: Option<usize>,
    /// Tokens of an answer at most.
    max_answer_len: Option<usize>,
    /// Tokens of a window at most.
    max_len: Option<usize>,
    /// Tokens that neighbouring windows share.
    stride: Option<usize>,
    /// Whether "there is no answer" is one of the answers.
    no_answer: bool,
}

impl AnswerRequest {
    pub(in crate::web) fn options(&self) -> AnswerOptions {
        let default = AnswerOptions::default();
        AnswerOptions {
            top: self.top.unwrap_or(default.top),
            max_answer_len: self.max_answer_len.unwrap_or(default.max_answer_len),
            max_len: self.max_len.unwrap_or(default.max_len),
            stride: self.stride,
            no_answer: self.no_answer,
            unit: Unit::Utf16,
        }
    }
}

/// `Engine.fill`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(in crate::web) struct FillRequest {
    /// Words for each place.
    top: Option<usize>,
}

impl FillRequest {
    pub(in crate::web) fn options(&self) -> FillOptions {
        FillOptions { top: self.top.unwrap_or(FillOptions::default().top) }
    }
}
