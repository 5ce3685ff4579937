//! Which of several right shaders serve a device. Plain data: `kernels::tune` measures it, `--variant` and tests force it.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Columns of a prefill chunk on most devices.
pub const NARROW_CHUNK: u32 = 128;

/// The same where fewer leave the device idle.
pub const WIDE_CHUNK: u32 = 512;

/// A choice for every point where shaders differ in speed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Choices {
    /// How a product with one column is shared out.
    pub one_column: OneColumn,
    /// Columns of a register tile of products with many: 4, 8 or 16.
    pub tile_columns: u32,
    /// Threads of a workgroup of those: 32 or 64.
    pub tile_threads: u32,
    /// How lanes hear what their neighbours loaded.
    pub share: Share,
    /// What register tiles of more than two columns compute with.
    pub math: Math,
    /// Columns of a prefill chunk, `NARROW_CHUNK` or `WIDE_CHUNK`.
    pub chunk: u32,
    /// Whether a column's sums must come out the same in company as alone: what a device's measurement does not decide.
    #[serde(skip)]
    pub alike: bool,
}

/// How a product with one column is shared out, and one with several that must come out as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OneColumn {
    /// The lanes of a team share the granules of one quad of rows, in workgroups of eight teams.
    #[serde(rename = "team-1")]
    Team1,
    /// The lanes of a team share the granules of two quads of rows.
    #[serde(rename = "team-2")]
    Team2,
    /// The same of eight quads: neighbouring lanes read neighbouring bytes, fewer of them share a quad.
    #[serde(rename = "team-8")]
    Team8,
    /// A thread walks a quad of rows alone, in workgroups of 16: a register tile with one column.
    #[serde(rename = "tile-16")]
    Tile16,
    /// The same in workgroups of 32.
    #[serde(rename = "tile-32")]
    Tile32,
    /// The same in workgroups of 64.
    #[serde(rename = "tile-64")]
    Tile64,
}

/// How lanes of a subgroup hear what their neighbours loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// By broadcasts.
    Broadcast,
    /// By shuffles.
    Shuffle,
}

/// What products are computed with. Sums beyond a few neighbouring weights are 32-bit floats always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Math {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers, four to a word, where weights are codes; 32-bit floats where they are floats.
    Int8,
}

impl Math {
    /// As `--variant` takes it, and the file of the `math` slot.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

impl Share {
    /// The file of the `share` slot, and as `--variant` takes it.
    pub(crate) fn slot(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Shuffle => "shuffle",
        }
    }
}

impl Default for Choices {
    /// What suits GPUs: measuring is what suits this one.
    fn default() -> Self {
        Self {
            one_column: OneColumn::Team2,
            tile_columns: 8,
            tile_threads: 64,
            share: Share::Broadcast,
            math: Math::F32,
            chunk: NARROW_CHUNK,
            alike: false,
        }
    }
}

impl std::fmt::Display for Choices {
    /// As `--variant` takes them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one_column = match self.one_column {
            OneColumn::Team1 => "team-1",
            OneColumn::Team2 => "team-2",
            OneColumn::Team8 => "team-8",
            OneColumn::Tile16 => "tile-16",
            OneColumn::Tile32 => "tile-32",
            OneColumn::Tile64 => "tile-64",
        };
        let Self { tile_columns, tile_threads, share, math, chunk, .. } = self;
        let (share, math) = (share.slot(), math.name());
        write!(f, "one-column={one_column} tile-columns={tile_columns} tile-threads={tile_threads} ")?;
        write!(f, "share={share} math={math} chunk={chunk}")
    }
}

impl Choices {
    /// Whether only many columns and many parts at once keep the device busy.
    pub fn is_wide(&self) -> bool {
        self.chunk > NARROW_CHUNK
    }

    /// Takes `NAME=CHOICE`, such as `one-column=tile-32`.
    ///
    /// # Errors
    /// `Invalid` with the names and choices there are.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let invalid = || {
            let known = "one-column=team-1|team-2|team-8|tile-16|tile-32|tile-64, tile-columns=4|8|16, tile-threads=32|64, \
                         share=broadcast|shuffle, math=f32|f16|int8, chunk=128|512";
            Error::invalid(format!("a variant of {known} wanted, found {assignment:?}"))
        };
        match assignment.split_once('=').ok_or_else(invalid)? {
            ("one-column", "team-1") => self.one_column = OneColumn::Team1,
            ("one-column", "team-2") => self.one_column = OneColumn::Team2,
            ("one-column", "team-8") => self.one_column = OneColumn::Team8,
            ("one-column", "tile-16") => self.one_column = OneColumn::Tile16,
            ("one-column", "tile-32") => self.one_column = OneColumn::Tile32,
            ("one-column", "tile-64") => self.one_column = OneColumn::Tile64,
            ("tile-columns", value @ ("4" | "8" | "16")) => self.tile_columns = value.parse().map_err(|_| invalid())?,
            ("tile-threads", value @ ("32" | "64")) => self.tile_threads = value.parse().map_err(|_| invalid())?,
            ("share", "broadcast") => self.share = Share::Broadcast,
            ("share", "shuffle") => self.share = Share::Shuffle,
            ("math", "f32") => self.math = Math::F32,
            ("math", "f16") => self.math = Math::F16,
            ("math", "int8") => self.math = Math::Int8,
            ("chunk", value @ ("128" | "512")) => self.chunk = value.parse().map_err(|_| invalid())?,
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_change_one_choice_and_others_are_refused() {
        let mut choices = Choices::default();
        choices.set("one-column=tile-32").unwrap();
        choices.set("tile-columns=16").unwrap();
        choices.set("share=shuffle").unwrap();
        choices.set("math=int8").unwrap();
        choices.set("chunk=512").unwrap();
        let wanted = Choices {
            one_column: OneColumn::Tile32,
            tile_columns: 16,
            share: Share::Shuffle,
            math: Math::Int8,
            chunk: WIDE_CHUNK,
            ..Choices::default()
        };
        assert_eq!(choices, wanted);
        let mut again = Choices::default();
        choices.to_string().split(' ').for_each(|assignment| again.set(assignment).unwrap());
        assert_eq!(again, choices);
        for wrong in [
            "one-column",
            "one-column=",
            "one-column=tile",
            "tile-columns=5",
            "tile-columns=99999999999",
            "=",
            "speed=fast",
        ] {
            assert!(choices.set(wrong).unwrap_err().to_string().contains("tile-columns=4|8|16"), "{wrong}");
        }
    }
}
