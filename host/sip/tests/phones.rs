//! Other people's phones register with us, by the hash they like, and are called.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::{
    Account, AccountLookup, Accounts, BoundContact, DialogEvent, OutgoingCall, RegistrarConfig, RegistrarRules,
    SipConfig, SipStack, Transport,
};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

const LONGEST: Duration = Duration::from_secs(60);

/// Knows alice, by one hash alone or by both.
struct Store {
    md5: bool,
    sha256: bool,
}

impl Accounts for Store {
    fn find<'a>(&'a self, username: &'a str, realm: &'a str) -> AccountLookup<'a> {
        Box::pin(async move {
            let account = Account::with_password("alice", "alice", realm, "secret");
            Ok((username == "alice").then(|| Account {
                ha1_md5: account.ha1_md5.clone().filter(|_| self.md5),
                ha1_sha256: account.ha1_sha256.clone().filter(|_| self.sha256),
                ..account
            }))
        })
    }
}

async fn registrar(store: Store) -> SipStack {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let registrar = RegistrarConfig { accounts: Arc::new(store), rules: RegistrarRules::default() };
    let config = SipConfig { udp: vec![any], tcp: vec![any], registrar: Some(registrar), ..SipConfig::default() };
    let (stack, mut calls) = SipStack::start(config).await.unwrap();
    tokio::spawn(async move { while calls.recv().await.is_some() {} });
    stack
}

fn address(stack: &SipStack, transport: Transport) -> SocketAddr {
    stack.local_addrs().into_iter().find(|(t, _)| *t == transport).unwrap().1
}

async fn bound(stack: &SipStack) -> BoundContact {
    let found = async {
        loop {
            if let Some(contact) = stack.contacts("alice").await.pop() {
                return contact;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONGEST, found).await.unwrap_or_else(|_| panic!("not registered: {:?}", stack.stats()))
}

/// Calls the phone; true when it rings.
async fn rings(stack: &SipStack, contact: BoundContact) -> bool {
    let offer =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\n";
    let call = OutgoingCall {
        contact: Some(contact),
        from: format!("sip:callbox@{}", address(stack, Transport::Udp)),
        offer: Some(offer.into()),
        ..OutgoingCall::default()
    };
    let (dialog, mut events) = stack.call(call).await.unwrap();
    let event = tokio::time::timeout(LONGEST, events.recv()).await.unwrap();
    let _ = dialog.hangup(None).await;
    matches!(event, Some(DialogEvent::Ringing | DialogEvent::Progress { .. } | DialogEvent::Answered { .. }))
}

async fn with_linphone(store: Store, transport: Transport) {
    let stack = registrar(store).await;
    let at = address(&stack, transport);
    let folder = std::env::temp_dir().join(format!("callbox-linphone-{}-{transport}", at.port()));
    std::fs::create_dir_all(folder.join(".local/share/linphone")).unwrap();
    let config = format!(
        "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\ndefault_proxy=0\nregister_only_when_network_is_up=0\n\
         [proxy_0]\nreg_proxy=<sip:{at};transport={transport}>\nreg_identity=sip:alice@{at}\nreg_expires=600\n\
         reg_sendregister=1\npublish=0\n[auth_info_0]\nusername=alice\npasswd=secret\nrealm=callbox\n"
    );
    std::fs::write(folder.join("linphonerc"), config).unwrap();
    let mut child = Command::new("linphonec")
        .arg("-c")
        .arg(folder.join("linphonerc"))
        .env("HOME", &folder)
        // It ends with its input.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let contact = bound(&stack).await;
    assert_eq!(contact.transport, transport, "{contact:?}");
    assert!(contact.user_agent.as_deref().is_some_and(|agent| agent.contains("inphone")), "{contact:?}");
    assert!(rings(&stack, contact).await);
    child.kill().await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    stack.shutdown().await;
}

#[tokio::test]
#[ignore = "needs linphonec"]
async fn linphone_by_both_hashes() {
    with_linphone(Store { md5: true, sha256: true }, Transport::Udp).await;
    with_linphone(Store { md5: true, sha256: true }, Transport::Tcp).await;
}

#[tokio::test]
#[ignore = "needs linphonec"]
async fn linphone_by_sha_256() {
    with_linphone(Store { md5: false, sha256: true }, Transport::Udp).await;
}

/// baresip 1.0 gives up at a challenge by SHA-256, and comes again after half a minute: then MD5 stands alone.
#[tokio::test]
#[ignore = "needs baresip"]
async fn baresip_over_udp_and_tcp() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let stack = registrar(Store { md5: true, sha256: true }).await;
        let at = address(&stack, transport);
        let folder = std::env::temp_dir().join(format!("callbox-baresip-{}", at.port()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = "poll_method epoll\nsip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\n\
             module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule_tmp account.so\nmodule_app menu.so\n";
        std::fs::write(folder.join("config"), config).unwrap();
        let account = format!("<sip:alice@{at};transport={transport}>;auth_user=alice;auth_pass=secret;regint=60\n");
        std::fs::write(folder.join("accounts"), account).unwrap();
        std::fs::write(folder.join("contacts"), "").unwrap();
        let mut child = Command::new("baresip")
            .arg("-f")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let contact = bound(&stack).await;
        assert_eq!(contact.transport, transport, "{contact:?}");
        assert!(rings(&stack, contact).await);
        child.kill().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        stack.shutdown().await;
    }
}
