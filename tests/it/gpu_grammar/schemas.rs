//! Two hundred schemas made from a seed (nested objects, enums, arrays, numbers, patterns; everything bounded), and an answer under
//! each that the `jsonschema` crate holds to be right.

use super::{ask_all, drawn, session};
use serde_json::{Map, Value, json};
use trice::session::FinishReason;
use trice::text::Grammar;

const N_SCHEMAS: usize = 200;

/// Objects and arrays inside each other at most.
const MAX_DEPTH: usize = 3;

const PATTERNS: [&str; 6] = [
    "^[a-z]{2,5}$",
    "^[A-Z]{3}-[0-9]{4}$",
    "^(red|green|blue)$",
    "^[0-9]{4}-[01][0-9]-[0-3][0-9]$",
    "^[a-z]{1,6}@[a-z]{2,6}\\.(com|org)$",
    "^#[0-9a-f]{6}$",
];

const NAMES: [&str; 10] = ["name", "age", "tags", "is big", "größe", "id_1", "x", "color", "when", "a\"b"];

/// Seeded choices (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn schema(&mut self, depth: usize) -> Value {
        match self.roll(if depth == MAX_DEPTH { 8 } else { 12 }) {
            0 => self.integer(),
            1 => self.number(),
            2 => self.string(),
            3 => json!({"type": "string", "pattern": self.pick(&PATTERNS)}),
            4 => self.enumeration(),
            5 => json!({"type": (["boolean", "null"])[self.roll(2)]}),
            6 => json!({"const": self.pick(&["yes", "späť", "\\ \" \n"])}),
            7 => json!({"anyOf": [self.integer(), self.string()]}),
            8 | 9 => self.array(depth),
            _ => self.object(depth),
        }
    }

    fn integer(&mut self) -> Value {
        let least = self.roll(2000) as i64 - 1000;
        let most = least + self.roll(500) as i64;
        if self.roll(3) == 0 {
            return json!({"type": "integer", "exclusiveMinimum": least - 1, "exclusiveMaximum": most + 1});
        }
        json!({"type": "integer", "minimum": least, "maximum": most})
    }

    /// Hundredths, so that digits end.
    fn number(&mut self) -> Value {
        let least = self.roll(100) as f64 - 50.0;
        json!({"type": "number", "minimum": least, "maximum": least + 20.0, "multipleOf": 0.25})
    }

    fn string(&mut self) -> Value {
        let least = self.roll(4);
        json!({"type": "string", "minLength": least, "maxLength": least + self.roll(8)})
    }

    fn enumeration(&mut self) -> Value {
        let all = [json!("left"), json!("right"), json!(1), json!(-2.5), json!(true), json!(null), json!([1, 2])];
        let from = self.roll(all.len() - 1);
        json!({"enum": all[from..=from + self.roll(all.len() - from)]})
    }

    fn array(&mut self, depth: usize) -> Value {
        let least = self.roll(2);
        json!({"type": "array", "items": self.schema(depth + 1), "minItems": least, "maxItems": least + 1 + self.roll(2)})
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut properties = Map::new();
        for _ in 0..=self.roll(3) {
            properties.insert(self.pick(&NAMES).to_owned(), self.schema(depth + 1));
        }
        let required: Vec<String> = properties.keys().filter(|_| self.roll(3) > 0).cloned().collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }
}

#[test]
fn two_hundred_answers_are_valid_under_their_schemas() {
    let Some(mut session) = session(8) else { return };
    let mut dice = Dice(20_261_126);
    let schemas: Vec<Value> = (0..N_SCHEMAS).map(|_| dice.object(0)).collect();
    let request = |(i, schema): (usize, &Value)| drawn(Grammar::JsonSchema(schema.clone()), i as u32);
    let requests: Vec<_> = schemas.iter().enumerate().map(request).collect();
    let answers = ask_all(&mut session, &requests);
    let mut wrong = Vec::new();
    for (schema, answer) in schemas.iter().zip(&answers) {
        let text = &answer.text;
        let outcome = match serde_json::from_str::<Value>(text) {
            Ok(value) => jsonschema::validator_for(schema).unwrap().validate(&value).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if outcome.is_err() || answer.finish_reason != FinishReason::Stop {
            wrong.push(format!("{schema}\n  {text}\n  {outcome:?}, {:?}", answer.finish_reason));
        }
    }
    let n_tokens: usize = answers.iter().map(|answer| answer.tokens.len()).sum();
    let n_bytes: usize = answers.iter().map(|answer| answer.text.len()).sum();
    println!("{} of {N_SCHEMAS} answers valid, {n_tokens} tokens, {n_bytes} bytes", N_SCHEMAS - wrong.len());
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}
