//! Lists of JSON objects in a row: as such, or as JSON text in CSV.

use serde_json::value::RawValue;

use crate::domain::Input;

/// The items of a list as JSON; `None` for everything else.
pub(super) fn objects_of(input: &Input) -> Option<Vec<String>> {
    match input {
        Input::List { items, .. } => items
            .iter()
            .map(|item| match item {
                Input::Structure { json, .. } => Some(json.clone()),
                _ => None,
            })
            .collect(),
        Input::Text(text) => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items = items.into_iter().map(|item| item.get().to_owned());
            items
                .map(|item| item.starts_with('{').then_some(item))
                .collect()
        }
        _ => None,
    }
}

/// What is wrong with the form of an object, without the place that the parser adds, and where the
/// form is described.
pub(super) fn malformed(error: &serde_json::Error, help: &str) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    format!("{reason}. {help}")
}
