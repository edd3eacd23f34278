//! Settings of the script: declared by the manifest, given by the deployment.
//! Secrets are not here; the host puts them into requests itself.

use crate::bindings::callbox::dialogue::settings as raw;
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;

/// The value of a setting, or the manifest's default, or nothing.
///
/// ```no_run
/// let desk = callbox_guest::settings::get("agent");
/// ```
#[must_use]
pub fn get(name: &str) -> Option<String> {
    raw::get(name)
}

/// The value of a setting, read as JSON: a number, `true`, a list, an object;
/// `None` where there is no value or an empty one.
///
/// ```no_run
/// #[derive(serde::Deserialize)]
/// struct Desk { name: String, target: String }
///
/// let tries: u8 = callbox_guest::settings::get_as("tries")?.unwrap_or(3);
/// let desks: Vec<Desk> = callbox_guest::settings::get_as("desks")?.unwrap_or_default();
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] when it does not have that shape; the text names the setting.
pub fn get_as<T: DeserializeOwned>(name: &str) -> Result<Option<T>> {
    read(name, get(name).as_deref())
}

/// The values of a setting that is written with commas: `01-01, 12-25`.
///
/// ```no_run
/// for number in callbox_guest::settings::list("agents") {
///     callbox_guest::info!("{number} may take the call");
/// }
/// ```
#[must_use]
pub fn list(name: &str) -> Vec<String> {
    parts(&get(name).unwrap_or_default())
}

fn read<T: DeserializeOwned>(name: &str, value: Option<&str>) -> Result<Option<T>> {
    let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return Ok(None) };
    serde_json::from_str(value).map(Some).map_err(|error| Error::Data(format!("setting {name}: {error}")))
}

fn parts(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_takes_the_shape_asked_for_or_says_which_does_not() {
        assert_eq!(read("tries", Some("3")), Ok(Some(3_u8)));
        assert_eq!(read::<Vec<String>>("desks", Some(r#"["a"]"#)), Ok(Some(vec!["a".into()])));
        assert_eq!(read::<u8>("tries", None), Ok(None));
        assert_eq!(read::<u8>("tries", Some(" ")), Ok(None));
        let wrong = read::<u8>("tries", Some("many"));
        assert!(matches!(&wrong, Err(Error::Data(what)) if what.starts_with("setting tries: ")), "{wrong:?}");
    }

    #[test]
    fn a_list_has_no_empty_parts() {
        assert_eq!(parts("01-01, 12-25,,"), ["01-01", "12-25"]);
        assert!(parts(" ").is_empty());
    }
}
