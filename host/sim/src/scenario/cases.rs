//! Table-driven scenarios: `${key}` stands for a case's value.

use super::problem::{Fault, Place, shown, suggest};
use super::tree::{Key, Kind, Tree};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) at: Place,
    pub(super) values: &'a [(Key, Tree)],
}

impl<'a> Case<'a> {
    /// A row as it was read.
    pub(super) fn of(tree: &'a Tree) -> Result<Self, Fault> {
        match &tree.kind {
            Kind::Map(values) if !values.is_empty() => Ok(Self { at: tree.at, values }),
            _ => Err(Fault::new("a case is a map of names and values")
                .help("write for example - {name: one, key: \"1\"}")
                .at(tree.at)),
        }
    }

    /// What it is called: its `name`, or else its values.
    pub(super) fn name(&self) -> String {
        let said = self.values.iter().find(|(key, _)| key.text == "name").and_then(|(_, value)| in_words(value));
        said.unwrap_or_else(|| {
            let values = self.values.iter().filter_map(|(key, value)| Some((&key.text, in_words(value)?)));
            shown(&values.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "))
        })
    }

    fn value(&self, key: &str) -> Option<&'a Tree> {
        self.values.iter().find(|(k, _)| k.text == key).map(|(_, value)| value)
    }
}

/// A value inside a longer text; none for what has parts.
fn in_words(value: &Tree) -> Option<String> {
    match &value.kind {
        Kind::Null => Some(String::new()),
        Kind::Flag(flag) => Some(flag.to_string()),
        Kind::Number(number) => Some(number.to_string()),
        Kind::Text(text) => Some(text.clone()),
        Kind::List(_) | Kind::Map(_) => None,
    }
}

/// The tree with a case's values in their places; without a case, `$${` becomes `${` and nothing may stand for
/// anything. What is left over of `budget` nodes is for the next.
pub(super) fn fill(tree: &Tree, case: Option<Case<'_>>, budget: &mut usize) -> Result<Tree, Fault> {
    spend(budget, 1).map_err(|fault| fault.at(tree.at))?;
    let kind = match &tree.kind {
        Kind::Text(text) => filled(text, case, budget).map_err(|fault| fault.at(tree.at))?,
        Kind::List(list) => Kind::List(list.iter().map(|tree| fill(tree, case, budget)).collect::<Result<_, _>>()?),
        Kind::Map(entries) => {
            let mut all: Vec<(Key, Tree)> = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let name = filled(&key.text, case, budget).map_err(|fault| fault.at(key.at))?;
                let Kind::Text(text) = name else {
                    return Err(
                        Fault::new(format!("`{}` is no text and cannot be a name", shown(&key.text))).at(key.at)
                    );
                };
                if all.iter().any(|(other, _)| other.text == text) {
                    return Err(Fault::new(format!("`{}` is there twice", shown(&text))).at(key.at));
                }
                all.push((Key { at: key.at, text }, fill(value, case, budget)?));
            }
            Kind::Map(all)
        }
        other => other.clone(),
    };
    Ok(Tree { at: tree.at, kind })
}

fn filled(text: &str, case: Option<Case<'_>>, budget: &mut usize) -> Result<Kind, Fault> {
    if !text.contains("${") {
        return Ok(Kind::Text(text.to_owned()));
    }
    if let Some(key) = whole(text) {
        let value = look_up(key, case)?;
        spend(budget, value.size())?;
        return Ok(value.kind.clone());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // `$${` is `${` as it is.
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((key, after)) = rest[at + 2..].split_once('}') else {
            return Err(Fault::new("`${` without its `}`").help("write `$${` for the characters themselves"));
        };
        let value = look_up(key, case)?;
        let words = in_words(value).ok_or_else(|| {
            Fault::new(format!("`${{{}}}` has parts and cannot stand inside a text", shown(key)))
                .help("let it stand alone: a text that is nothing else keeps the value as it is")
        })?;
        spend(budget, weight(&words))?;
        out.push_str(&words);
        rest = after;
    }
    out.push_str(rest);
    Ok(Kind::Text(out))
}

/// The key, where the text is one `${key}` and nothing else.
fn whole(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|key| !key.contains(['{', '}', '$']))
}

fn look_up<'a>(key: &str, case: Option<Case<'a>>) -> Result<&'a Tree, Fault> {
    let name = key.trim();
    let Some(case) = case else {
        return Err(Fault::new(format!("`${{{}}}` stands for a value of `cases`, and there are none", shown(name)))
            .help("add `cases:` to the scenario, or write `$${` for the characters themselves"));
    };
    case.value(name).ok_or_else(|| {
        let fault = Fault::new(format!("`${{{}}}` is not given by the case in line {}", shown(name), case.at.line));
        Fault { help: suggest(name, case.values.iter().map(|(key, _)| key.text.as_str())), ..fault }
    })
}

fn spend(budget: &mut usize, size: usize) -> Result<(), Fault> {
    let too_much = || Fault::new("the cases of this file make too much of it").help("split the file");
    *budget = budget.checked_sub(size).ok_or_else(too_much)?;
    Ok(())
}

/// Long texts count as many values.
const fn weight(text: &str) -> usize {
    1 + text.len() / 64
}

impl Tree {
    /// How many values it consists of.
    fn size(&self) -> usize {
        match &self.kind {
            Kind::Text(text) => weight(text),
            Kind::List(list) => 1 + list.iter().map(Self::size).sum::<usize>(),
            Kind::Map(entries) => 1 + entries.iter().map(|(_, value)| value.size()).sum::<usize>(),
            _ => 1,
        }
    }
}

/// A text for a scenario file that means just these characters: `${` is written `$${`.
///
/// ```
/// assert_eq!(callbox_sim::scenario::literal("costs ${5}"), "costs $${5}");
/// ```
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn fill_text(text: &str, case: &str) -> Result<Kind, String> {
        let case = Tree::read(case).unwrap();
        let case = Case::of(&case).unwrap();
        let tree = Tree { at: Place::START, kind: Kind::Text(text.into()) };
        fill(&tree, Some(case), &mut 1_000).map(|tree| tree.kind).map_err(|fault| fault.message)
    }

    #[test]
    fn values_stand_in_their_places() {
        let case = "{name: one, key: \"1\", count: 3, list: [a, b]}";
        let text = |text: &str| Ok(Kind::Text(text.into()));
        assert_eq!(fill_text("press ${key} or ${ count }", case), text("press 1 or 3"));
        assert_eq!(fill_text("${count}", case), Ok(Kind::Number(3.into())));
        assert!(matches!(fill_text("${list}", case), Ok(Kind::List(list)) if list.len() == 2));
        assert_eq!(fill_text("$${key} costs $5 {key}", case), text("${key} costs $5 {key}"));
        assert!(fill_text("${kex}", case).unwrap_err().contains("not given by the case in line 1"));
        assert!(fill_text("a ${list}", case).unwrap_err().contains("has parts"));
        assert!(fill_text("a ${list", case).unwrap_err().contains("without its `}`"));
        let long = format!("{{x: \"{}\"}}", "x".repeat(10_000));
        assert!(fill_text(&"${x} ".repeat(10), &long).unwrap_err().contains("too much"));
    }

    #[test]
    fn what_is_literal_comes_back() {
        for text in ["${a}", "$${a}", "a $ b", "${", "$", "{}", "$$$ ${x} $${y}"] {
            let tree = Tree { at: Place::START, kind: Kind::Text(literal(text)) };
            assert_eq!(fill(&tree, None, &mut 9).unwrap().kind, Kind::Text(text.into()), "{text}");
        }
    }
}
