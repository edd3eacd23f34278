//! `callbox-load webrtc HTTP_ADDRESS:PORT TOKEN CODEC LOCAL_ADDRESS`: browsers that call over HTTP. It prints a line of
//! JSON when it is ready, then obeys lines on standard input: `call COUNT PER_SECOND` begins calls, `settle` prints a
//! report as soon as all of them have audio or are refused, `reset` begins to count anew, `report` prints what was
//! counted since, `hang-up` ends all calls, the end of input ends it.

use crate::{orders, tell};
use callbox_load::webrtc::{Browsers, Target};
use callbox_webrtc::Codec;
use std::io;
use std::sync::mpsc::TryRecvError;

pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> io::Result<()> {
    let usage = || io::Error::other("usage: callbox-load webrtc HTTP_ADDRESS:PORT TOKEN CODEC LOCAL_ADDRESS");
    let http = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let token = arguments.next().ok_or_else(usage)?;
    let name = arguments.next().ok_or_else(usage)?;
    let codec = Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(&name)).ok_or_else(usage)?;
    let local = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let mut browsers = Browsers::new(Target { http, token, codec, data: false, local });
    tell(&serde_json::json!({ "ready": true }))?;
    let orders = orders();
    let mut settling = false;
    loop {
        match orders.try_recv() {
            Ok(order) => {
                let words: Vec<&str> = order.split_ascii_whitespace().collect();
                match words.as_slice() {
                    ["call", count, rate] => {
                        let count = count.parse().map_err(|_| usage())?;
                        browsers.call(count, rate.parse().map_err(|_| usage())?);
                    }
                    ["settle"] => settling = true,
                    ["reset"] => browsers.reset(),
                    ["report"] => tell(&browsers.report())?,
                    ["hang-up"] => {
                        browsers.hang_up();
                        tell(&browsers.report())?;
                    }
                    _ => return Err(io::Error::other(format!("what is {order:?}?"))),
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                browsers.hang_up();
                return Ok(());
            }
        }
        browsers.turn();
        if settling && browsers.is_settled() {
            settling = false;
            tell(&browsers.report())?;
        }
    }
}
