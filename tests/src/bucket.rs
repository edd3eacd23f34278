//! A server that speaks S3: moto, which others wrote to test programs that use it.

use crate::peer::free_port;
use crate::{SOON, root};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tokio::time::timeout;

/// The name of the only bucket.
const NAME: &str = "callbox";

/// A bucket on a server of its own, which keeps it in memory.
#[derive(Debug)]
pub struct Bucket {
    address: SocketAddr,
    child: Child,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Bucket {
    /// Starts one.
    pub async fn start() -> Self {
        // Another program may take the port before the server does.
        for _ in 0..5 {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let mut bucket = Self { address, child: serve(address) };
            if bucket.is_made().await {
                return bucket;
            }
        }
        panic!("moto does not start: run tools/setup test");
    }

    /// What a host needs to know to use it.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CALLBOX_STORE__OBJECTS", format!("s3://{NAME}/phones/here")),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    /// Ends the server; what it kept is gone.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same place, with an empty bucket.
    pub async fn again(&mut self) {
        // Its port may have been taken meanwhile, by somebody who will go.
        for _ in 0..20 {
            self.child = serve(self.address);
            if self.is_made().await {
                return;
            }
        }
        panic!("moto does not start at {} again", self.address);
    }

    /// Makes the bucket once the server answers; false where it ended instead.
    async fn is_made(&mut self) -> bool {
        let (url, client) = (format!("http://{}/{NAME}", self.address), reqwest::Client::new());
        let made = async {
            loop {
                if client.put(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return true;
                }
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return false;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        timeout(SOON, made).await.unwrap_or(false)
    }
}

fn serve(address: SocketAddr) -> Child {
    let server = root().join("target/python/bin/moto_server");
    let mut command = Command::new(&server);
    command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}: run tools/setup test", server.display()))
}
