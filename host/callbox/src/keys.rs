//! `callbox keys`: what needs no running host, and does not disturb one.

use crate::serve::ServeArgs;
use callbox_store::keys::{NewKey, Scopes};
use callbox_store::{Actor, SealingKey};
use miette::{IntoDiagnostic, miette};
use std::io::Write;

/// Keys, straight from the database: of the API, and the one that seals secrets
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeysCommand {
    /// Make an API key of the first tenant: for who has lost the last one, or has none for the deployment's tenants.
    Make(MakeArgs),
    /// Make a key that seals secrets, for `CALLBOX_STORE__KEY`.
    New,
    /// Seal all secrets in the database with another key, while hosts run.
    ///
    /// From a key file: a fresh key is put before the one in use, and hosts that share the file find it. From
    /// `CALLBOX_STORE__KEY`: give the new key there and the old one in `CALLBOX_STORE__PREVIOUS_KEYS`, to every host, then
    /// rotate; afterwards the old one is not needed any more.
    Rotate(ServeArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct MakeArgs {
    /// Its name, for people
    #[arg(long, default_value = "made on the host")]
    name: String,
    /// What it may do, with commas between
    #[arg(long, value_delimiter = ',', default_value = "admin,operator")]
    scopes: Vec<String>,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(crate) async fn run(command: &KeysCommand) -> miette::Result<()> {
    let said = match command {
        KeysCommand::New => SealingKey::generate().into_diagnostic()?.text().expose().to_owned(),
        KeysCommand::Make(args) => {
            let store = args.serve.load()?.open_store().await?;
            let scopes = Scopes(args.scopes.iter().cloned().collect());
            let new = NewKey { name: args.name.clone(), scopes, expires_at: None };
            let made = store.create_key(store.default_tenant(), new, &Actor::system()).await.into_diagnostic()?;
            store.close().await;
            made.secret.expose().to_owned()
        }
        KeysCommand::Rotate(args) => {
            let store = args.load()?.open_store().await?;
            let rotated = store
                .rotate_sealing_key()
                .await
                .map_err(|error| miette!(code = error.code(), help = "called again, it goes on", "{error}"))?;
            store.close().await;
            format!(
                "{} secrets are sealed with the key {} now, before with {}",
                rotated.secrets, rotated.key, rotated.before
            )
        }
    };
    writeln!(std::io::stdout(), "{said}").into_diagnostic()
}
