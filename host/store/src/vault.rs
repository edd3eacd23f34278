//! How secrets lie in the database: sealed with AES-256-GCM under a key that is not in it.
//!
//! A sealed text is `sealed:1:KEY:BYTES` – the name of its key, and in base64 a random nonce, what is sealed, and the
//! tag. Whose secret it is (tenant, owner, name) is authenticated with it, so that a row that somebody moves to another
//! owner opens nothing.
//!
//! Keys come from the configuration or from a file ([`KeySource`]). Which of them writers use is said by the database
//! (the table `sealing`), so that all hosts change to another one at the same moment; older ones are accepted as long as
//! a host has them. A host that meets a key it does not have reads its file again: whoever rotates the key need not stop
//! anybody. See [`Store::rotate_sealing_key`].

use crate::keys::random;
use crate::secrets::Secret;
use crate::writer::Db;
use crate::{Store, StoreError, TenantId, UnixMs};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Of a key's text.
const PREFIX: &str = "cbs_";
/// Of a sealed text; the number is of the format.
const SEALED: &str = "sealed:1:";
const NONCE: usize = 12;
const TAG: usize = 16;
/// Largest key file that is read: some dozen keys.
const MAX_FILE: u64 = 16 * 1024;

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Mistyped, or something else.
    #[error("{0} is not a sealing key: `cbs_`, 64 hexadecimal digits, `_` and 8 more; `callbox keys new` makes one")]
    NotAKey(String),
    /// The file cannot be read or written.
    #[error("the key file {path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// Others can read the file.
    #[error("the key file {0} can be read by others: chmod 600 it, and make another key if somebody else was there")]
    Open(PathBuf),
    /// The database is sealed with a key that is not there.
    #[error(
        "the secrets in the database are sealed with the key {wanted}, and {place} has {have}: give it the right key, or the \
         file of the host that sealed them"
    )]
    Wrong {
        /// The key's name.
        wanted: String,
        /// Where keys come from.
        place: String,
        /// The names of the keys that are there.
        have: String,
    },
}

/// A key: 256 bits. Its debug text shows its name alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey {
    bytes: [u8; 32],
    id: String,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

impl SealingKey {
    /// A fresh one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, StoreError> {
        let mut bytes = [0; 32];
        random(&mut bytes)?;
        Ok(Self::of(bytes))
    }

    fn of(bytes: [u8; 32]) -> Self {
        let id = Sha256::new().chain_update(b"callbox sealing key id").chain_update(bytes).finalize();
        Self { bytes, id: hex::encode(&id[..8]) }
    }

    /// Reads what [`SealingKey::text`] wrote.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`]; the text is not in it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError::NotAKey("what was given".to_owned());
        let (digits, sum) = text.trim().strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or_else(wrong)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
        if sum != checksum(digits) {
            return Err(wrong());
        }
        Ok(Self::of(bytes))
    }

    /// For a key file, or the environment: a secret.
    #[must_use]
    pub fn text(&self) -> Secret {
        let digits = hex::encode(self.bytes);
        let sum = checksum(&digits);
        Secret::new(format!("{PREFIX}{digits}_{sum}"))
    }

    /// Its name, which tells nothing about it: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn checksum(digits: &str) -> String {
    hex::encode(&Sha256::digest(digits)[..4])
}

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// From the configuration: the current one, and older ones that are still accepted.
    Given(Vec<SealingKey>),
    /// From a file: one to a line, the newest first. It is made, with a fresh key, where the database has none yet.
    File(PathBuf),
}

impl KeySource {
    /// What is in it now.
    fn read(&self) -> Result<Vec<SealingKey>, KeyError> {
        match self {
            Self::Given(keys) => Ok(keys.clone()),
            Self::File(path) => match read_file(path) {
                Ok(keys) => Ok(keys),
                Err(None) => Ok(Vec::new()),
                Err(Some(error)) => Err(error),
            },
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Given(_) => "the configuration (store.key, store.previous_keys)".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// The keys of a file; none as an error when it is not there.
fn read_file(path: &Path) -> Result<Vec<SealingKey>, Option<KeyError>> {
    use std::os::unix::fs::MetadataExt as _;
    let wrong = |why: String| Some(KeyError::File { path: path.to_owned(), why });
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    if about.mode() & 0o077 != 0 {
        return Err(Some(KeyError::Open(path.to_owned())));
    }
    if about.len() > MAX_FILE {
        return Err(wrong(format!("it is larger than {MAX_FILE} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let named = |_| KeyError::NotAKey(format!("line {} of {}", number + 1, path.display()));
        keys.push(SealingKey::parse(line).map_err(named)?);
    }
    Ok(keys)
}

/// Writes the file as a whole, for nobody else to read. Where it must be `new` and somebody else has made one meanwhile,
/// that one stays.
fn write_file(path: &Path, keys: &[SealingKey], new: bool) -> Result<(), KeyError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut suffix = [0; 8];
    let wrong = |why: String| KeyError::File { path: path.to_owned(), why };
    random(&mut suffix).map_err(|error| wrong(error.to_string()))?;
    let beside = path.with_extension(format!("new-{}", hex::encode(suffix)));
    let written = (|| {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        writeln!(
            file,
            "# The keys that seal the secrets in Callbox's database, the newest first. Keep a copy elsewhere."
        )?;
        for key in keys {
            writeln!(file, "{}", key.text().expose())?;
        }
        file.sync_all()?;
        if new { std::fs::hard_link(&beside, path) } else { std::fs::rename(&beside, path) }
    })();
    // Renamed, or not wanted any more.
    let _ = std::fs::remove_file(&beside);
    match written {
        Err(error) if new && error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|error: std::io::Error| wrong(error.to_string())),
    }
}

/// The keys of a host. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    source: KeySource,
    ring: RwLock<BTreeMap<String, Arc<Aes256Gcm>>>,
}

/// What a secret is sealed for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) owner: &'a str,
    pub(crate) name: &'a str,
}

impl Whose<'_> {
    /// Each part with its length, so that no two differ in where one part ends alone.
    fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for part in [self.tenant.as_str(), self.owner, self.name] {
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part.as_bytes());
        }
        all
    }
}

impl Vault {
    fn new(source: KeySource) -> Self {
        Self { inner: Arc::new(Inner { source, ring: RwLock::default() }) }
    }

    /// Takes in what the source has now; the newest key.
    fn load(&self) -> Result<Option<SealingKey>, KeyError> {
        let keys = self.inner.source.read()?;
        let mut ring = self.inner.ring.write().unwrap_or_else(PoisonError::into_inner);
        *ring = keys.iter().map(|key| (key.id.clone(), Arc::new(Aes256Gcm::new(&key.bytes.into())))).collect();
        Ok(keys.into_iter().next())
    }

    fn held(&self, key: &str) -> Option<Arc<Aes256Gcm>> {
        self.inner.ring.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The key of this name. A file is small and read only when a rotation is under way: no thread is given away for it.
    fn key(&self, key: &str) -> Result<Arc<Aes256Gcm>, StoreError> {
        if let Some(held) = self.held(key) {
            return Ok(held);
        }
        self.load()?;
        self.held(key).ok_or_else(|| self.wrong(key).into())
    }

    fn wrong(&self, wanted: &str) -> KeyError {
        let ring = self.inner.ring.read().unwrap_or_else(PoisonError::into_inner);
        let have: Vec<&str> = ring.keys().map(String::as_str).collect();
        let have = if have.is_empty() { "no key".to_owned() } else { have.join(", ") };
        KeyError::Wrong { wanted: wanted.to_owned(), place: self.inner.source.place(), have }
    }

    fn seal_with(&self, key: &str, whose: Whose<'_>, plain: &str) -> Result<String, StoreError> {
        let cipher = self.key(key)?;
        let mut nonce = [0; NONCE];
        random(&mut nonce)?;
        let mut bytes = plain.as_bytes().to_vec();
        let tag = cipher
            .encrypt_inout_detached(&nonce.into(), &whose.bytes(), bytes.as_mut_slice().into())
            .map_err(|_| StoreError::Internal("a secret cannot be sealed: it is too long".to_owned()))?;
        let all = [&nonce[..], &bytes, &tag].concat();
        Ok(format!("{SEALED}{key}:{}", STANDARD_NO_PAD.encode(all)))
    }

    /// Seals with the key that the database names.
    pub(crate) async fn seal(&self, db: &mut Db, whose: Whose<'_>, plain: &Secret) -> Result<String, StoreError> {
        let key = current(db).await?.ok_or_else(|| StoreError::Internal("the table `sealing` is empty".to_owned()))?;
        self.seal_with(&key, whose, plain.expose())
    }

    /// What was sealed for this owner under this name.
    pub(crate) fn open(&self, whose: Whose<'_>, sealed: &str) -> Result<Secret, StoreError> {
        let broken = || {
            let Whose { owner, name, .. } = whose;
            StoreError::Corrupt(format!("the secret {name:?} of {owner} is not what was stored for it"))
        };
        let (key, text) = sealed.strip_prefix(SEALED).and_then(|rest| rest.split_once(':')).ok_or_else(broken)?;
        let cipher = self.key(key)?;
        let mut all = STANDARD_NO_PAD.decode(text).map_err(|_| broken())?;
        let end = all.len().checked_sub(TAG).filter(|end| *end >= NONCE).ok_or_else(broken)?;
        let (head, tag) = all.split_at_mut(end);
        let (nonce, bytes) = head.split_at_mut(NONCE);
        let (Ok(nonce), Ok(tag)) = (<[u8; NONCE]>::try_from(&*nonce), <[u8; TAG]>::try_from(&*tag)) else {
            return Err(broken());
        };
        cipher
            .decrypt_inout_detached(&nonce.into(), &whose.bytes(), (&mut *bytes).into(), &tag.into())
            .map_err(|_| broken())?;
        String::from_utf8(bytes.to_vec()).map(Secret::new).map_err(|_| broken())
    }
}

/// The name of the key that writers use.
async fn current(db: &mut Db) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar("SELECT key_id FROM sealing WHERE id = 1").fetch_optional(db).await?)
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: TenantId,
    owner: String,
    name: String,
    value: String,
    previous: Option<String>,
}

/// Rows of one transaction of a rotation.
const BATCH: i64 = 200;

/// Seals rows anew, of those behind `after`: whatever they were sealed with, or not at all. The last one that was looked
/// at, and how many were changed.
async fn reseal(
    db: &mut Db,
    vault: &Vault,
    after: &(String, String),
    plain: bool,
) -> Result<(Option<(String, String)>, u64), StoreError> {
    let key = current(db).await?.unwrap_or_default();
    let rows = sqlx::query_as::<_, Row>(
        "SELECT tenant_id, owner, name, value, previous FROM secrets
         WHERE owner > $1 OR (owner = $1 AND name > $2) ORDER BY owner, name LIMIT $3",
    )
    .bind(&after.0)
    .bind(&after.1)
    .bind(BATCH)
    .fetch_all(&mut *db)
    .await?;
    let (mut last, mut changed) = (None, 0);
    let ours = format!("{SEALED}{key}:");
    for Row { tenant_id, owner, name, value, previous } in rows {
        let whose = Whose { tenant: &tenant_id, owner: &owner, name: &name };
        let again = |text: &str| {
            if plain {
                return vault.seal_with(&key, whose, text);
            }
            if text.starts_with(&ours) {
                return Ok(text.to_owned());
            }
            vault.seal_with(&key, whose, vault.open(whose, text)?.expose())
        };
        let (new_value, new_previous) = (again(&value)?, previous.as_deref().map(again).transpose()?);
        if new_value != value || new_previous != previous {
            // Only if it is still what was read: a change of its own has sealed it already.
            let done = sqlx::query(
                "UPDATE secrets SET value = $1, previous = $2 WHERE owner = $3 AND name = $4 AND value = $5",
            )
            .bind(&new_value)
            .bind(&new_previous)
            .bind(&owner)
            .bind(&name)
            .bind(&value)
            .execute(&mut *db)
            .await?;
            changed += done.rows_affected();
        }
        last = Some((owner, name));
    }
    Ok((last, changed))
}

/// Finds the key that the database is sealed with, or begins to seal it, in the transaction at hand. How many secrets lay in the clear before.
pub(crate) async fn unlock(db: &mut Db, source: KeySource, now: UnixMs) -> Result<(Vault, u64), StoreError> {
    let vault = Vault::new(source);
    let mut newest = vault.load()?;
    if let Some(wanted) = current(db).await? {
        vault.key(&wanted)?;
        return Ok((vault, 0));
    }
    if let (None, KeySource::File(path)) = (&newest, &vault.inner.source) {
        write_file(path, &[SealingKey::generate()?], true)?;
        tracing::info!(path = %path.display(), "made a key that seals the secrets in the database: keep a copy of it");
        newest = vault.load()?;
    }
    let newest = newest.ok_or_else(|| KeyError::NotAKey("an empty store.key".to_owned()))?;
    let first = sqlx::query("INSERT INTO sealing (id, key_id, since) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING")
        .bind(newest.id())
        .bind(now)
        .execute(&mut *db)
        .await?;
    let mut sealed = 0;
    if first.rows_affected() > 0 {
        let mut after = (String::new(), String::new());
        loop {
            let (last, changed) = reseal(db, &vault, &after, true).await?;
            sealed += changed;
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
    }
    // Another host may have been first.
    let wanted = current(db).await?.unwrap_or_default();
    vault.key(&wanted)?;
    Ok((vault, sealed))
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The name of the key that seals from now on.
    pub key: String,
    /// The one before.
    pub before: String,
    /// Secrets that were sealed anew.
    pub secrets: u64,
}

impl Store {
    /// Seals everything with another key, while hosts run. From a file: a fresh key is written before the others in it,
    /// unless its first one is not in use yet. From the configuration: its first one, with the key in use behind it.
    ///
    /// Every host must find both keys before: those that share the file do by themselves.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the configuration has no other key; what the file or the database says.
    /// Interrupted, it is called again and goes on.
    pub async fn rotate_sealing_key(&self) -> Result<Rotated, StoreError> {
        let vault = self.vault().clone();
        let before = self.write(|db| Box::pin(current(db))).await?.unwrap_or_default();
        let keys = vault.inner.source.read()?;
        let new = match (&vault.inner.source, keys.first()) {
            (_, Some(first)) if first.id != before => first.clone(),
            (KeySource::File(path), _) => {
                let new = SealingKey::generate()?;
                // The one in use opens what is not sealed anew yet; older ones open nothing any more.
                let both: Vec<SealingKey> =
                    std::iter::once(new.clone()).chain(keys.iter().filter(|key| key.id == before).cloned()).collect();
                write_file(path, &both, false)?;
                new
            }
            (KeySource::Given(_), _) => {
                let message = "store.key is the key in use: put a new one there (`callbox keys new`), and the one in use \
                               into store.previous_keys, on every host; then rotate";
                return Err(StoreError::conflict("same_key", message));
            }
        };
        vault.load()?;
        let (id, now) = (new.id.clone(), self.now());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query("UPDATE sealing SET key_id = $1, since = $2 WHERE id = 1")
                    .bind(id)
                    .bind(now)
                    .execute(db)
                    .await?;
                Ok(())
            })
        })
        .await?;
        let mut secrets = 0;
        // Whoever wrote while the key changed may have used the old one: until there is nothing to do.
        loop {
            let changed = self.reseal_all(&vault).await?;
            secrets += changed;
            if changed == 0 {
                return Ok(Rotated { key: new.id, before, secrets });
            }
        }
    }

    async fn reseal_all(&self, vault: &Vault) -> Result<u64, StoreError> {
        let (mut after, mut all) = ((String::new(), String::new()), 0);
        loop {
            let (vault, from) = (vault.clone(), after);
            let (last, changed) =
                self.write(move |db| Box::pin(async move { reseal(db, &vault, &from, false).await })).await?;
            all += changed;
            match last {
                Some(last) => after = last,
                None => return Ok(all),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOSE: (&str, &str) = ("whk_1", "signing");

    fn vault(keys: &[SealingKey]) -> Vault {
        let vault = Vault::new(KeySource::Given(keys.to_vec()));
        vault.load().unwrap();
        vault
    }

    fn of<'a>(tenant: &'a TenantId, owner: &'a str, name: &'a str) -> Whose<'a> {
        Whose { tenant, owner, name }
    }

    #[test]
    fn a_key_is_recognised_and_one_wrong_letter_is_not() {
        let key = SealingKey::generate().unwrap();
        let text = key.text();
        assert_eq!(SealingKey::parse(&format!(" {}\n", text.expose())).unwrap(), key);
        assert!(!format!("{key:?}").contains(&text.expose()[4..20]));
        for at in 0..text.expose().len() {
            let mut bytes = text.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            assert!(SealingKey::parse(std::str::from_utf8(&bytes).unwrap()).is_err(), "at {at}");
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_alone() {
        let key = SealingKey::generate().unwrap();
        let vault = vault(std::slice::from_ref(&key));
        let (mine, theirs) = (TenantId("ten_a".into()), TenantId("ten_b".into()));
        let whose = of(&mine, WHOSE.0, WHOSE.1);
        let sealed = vault.seal_with(&key.id, whose, "a secret").unwrap();
        assert!(!sealed.contains("a secret") && sealed.contains(&key.id));
        assert_ne!(sealed, vault.seal_with(&key.id, whose, "a secret").unwrap(), "another nonce");
        assert_eq!(vault.open(whose, &sealed).unwrap().expose(), "a secret");
        for other in [
            of(&theirs, WHOSE.0, WHOSE.1),
            of(&mine, "whk_2", WHOSE.1),
            of(&mine, WHOSE.0, "password"),
            // The same letters, parted elsewhere.
            of(&mine, "whk_1s", "igning"),
        ] {
            assert_eq!(vault.open(other, &sealed).unwrap_err().code(), "store_corrupt", "{other:?}");
        }
    }

    #[test]
    fn what_was_changed_opens_nothing() {
        let key = SealingKey::generate().unwrap();
        let vault = vault(std::slice::from_ref(&key));
        let tenant = TenantId("ten_a".into());
        let whose = of(&tenant, WHOSE.0, WHOSE.1);
        let sealed = vault.seal_with(&key.id, whose, "").unwrap();
        assert_eq!(vault.open(whose, &sealed).unwrap().expose(), "");
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(vault.open(whose, std::str::from_utf8(&bytes).unwrap()).is_err(), "at {at}");
        }
        for wrong in
            ["", "a secret", "sealed:1:", "sealed:1::", "sealed:1:x:AAAA", &format!("sealed:1:{}:AAAA", key.id)]
        {
            assert!(vault.open(whose, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        let (one, other) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
        assert_eq!(read_file(&path), Err(None));
        write_file(&path, std::slice::from_ref(&one), true).unwrap();
        write_file(&path, std::slice::from_ref(&other), true).unwrap();
        assert_eq!(read_file(&path).unwrap(), std::slice::from_ref(&one), "the first one stays");
        write_file(&path, &[other.clone(), one.clone()], false).unwrap();
        assert_eq!(read_file(&path).unwrap(), [other, one]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_file(&path), Err(Some(KeyError::Open(path.clone()))));
    }
}
