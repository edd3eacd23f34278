//! A script for tests: talks with a model, listens for keys, and writes down what came of it.

use callbox_guest::llm::{self, Turn};
use callbox_guest::{Ask, BargeIn, Error, Heard, Result, call, listen, results, secs};
use serde_json::json;

callbox_guest::script!(run);

fn run() -> Result<()> {
    call::answer()?;
    let talk = llm::with("assistant")
        .system("Be brief.")
        .tool("note", "Writes something down.", &json!({
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        }))
        .open()?;
    talk.user("Tell me a story")?;
    let mut note = |call: &llm::ToolCall| -> Result<String> {
        #[derive(serde::Deserialize)]
        struct Note {
            text: String,
        }
        let Note { text } = call.arguments()?;
        results::set("note", &text)?;
        Ok(format!("noted {text}"))
    };
    write_down("first", &talk.ask(one_key(), &mut note)?)?;
    talk.user("Go on")?;
    write_down("second", &talk.ask(one_key(), &mut note)?)?;
    talk.user("Are you away?")?;
    match talk.reply(BargeIn::Nothing, &mut note) {
        Err(Error::Unavailable(why)) => results::set("away", &why),
        other => results::set("away", &format!("{other:?}")),
    }
}

fn one_key() -> Ask {
    listen().digits(1..=1).start_timeout(secs(30))
}

fn write_down(name: &str, turn: &Turn) -> Result<()> {
    let Heard::Digits(keys) = &turn.heard else { return results::set(name, &format!("{:?}", turn.heard)) };
    let heard = turn.reply.playout.as_ref().map(|playout| playout.heard_text.as_str());
    results::set(name, &json!({"text": turn.reply.text, "heard": heard, "keys": keys}))
}
