//! `callbox call`: a real SIP caller in the terminal. It plays a WAV or presses
//! keys, and tells what it hears.

mod ear;
mod keys;

use crate::caller::ear::{Ear, Sound};
use crate::caller::keys::{Key, Keys};
use callbox_call::{Negotiation, Terms};
use callbox_dialogue::{CallId, PromptId};
use callbox_media::{Clip, MediaCommand, MediaConfig, MediaEvent, MediaPlane, MediaStats, Session, Tap, wav};
use callbox_sip::{Credentials, Dialog, DialogEvent, OutgoingCall, SipConfig, SipStack};
use clap::Args;
use miette::{IntoDiagnostic, WrapErr, miette};
use serde_json::json;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// The caller's own audio.
const PLAY: PromptId = PromptId(1);
/// Frames the ear may be behind.
const TAP: usize = 50;

/// Place a call and tell what it hears
#[derive(Args, Debug)]
pub(crate) struct CallArgs {
    /// Whom to call, for example sip:1000@127.0.0.1:5060
    target: String,
    /// Who calls
    #[arg(long, default_value = "sip:caller@127.0.0.1")]
    from: String,
    /// A header of the INVITE, "Name: value"; may be repeated
    #[arg(long = "header", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Keys to press, groups separated by commas. A group is pressed once the far end has spoken and fallen silent;
    /// `!1` presses as soon as it speaks, `@1500:1` presses 1.5 s after the answer. Example: 1,!2,@9000:12#
    #[arg(long, default_value = "")]
    keys: Keys,
    /// A WAV file to play once the call is answered
    #[arg(long)]
    play: Option<PathBuf>,
    /// Record both sides into this WAV file (left: what is heard, right: what is played)
    #[arg(long)]
    record: Option<PathBuf>,
    /// Hang up so many milliseconds after the answer; Ctrl-C does so at once
    #[arg(long)]
    hangup_after: Option<u64>,
    /// Longest call in milliseconds, ringing included
    #[arg(long, default_value_t = 120_000)]
    max: u64,
    /// Local address; the port is free
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Name for digest authentication; the password comes from CALLBOX_CALL_PASSWORD
    #[arg(long)]
    user: Option<String>,
    /// Password for digest authentication
    #[arg(long, env = "CALLBOX_CALL_PASSWORD", hide = true, hide_env_values = true)]
    password: Option<String>,
    /// One JSON object per line instead of text
    #[arg(long)]
    json: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as \"Name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Places the call. 0 when it was answered, 1 when not.
pub(crate) async fn run(args: CallArgs) -> miette::Result<ExitCode> {
    let telling = Telling { json: args.json, began: Instant::now() };
    let play = args.play.as_deref().map(|path| {
        let bytes = std::fs::read(path).into_diagnostic().wrap_err_with(|| path.display().to_string())?;
        wav::read(&bytes).into_diagnostic().wrap_err_with(|| path.display().to_string())
    });
    let play = play.transpose()?;
    let (stack, _incoming) = SipStack::start(SipConfig {
        udp: vec![SocketAddr::new(args.bind, 0)],
        tcp: Vec::new(),
        ..SipConfig::default()
    })
    .await
    .into_diagnostic()?;
    let plane = MediaPlane::start(MediaConfig {
        bind: args.bind,
        advertise: args.bind,
        ports: 30_000..=32_767,
        workers: 1,
        ..MediaConfig::default()
    })
    .into_diagnostic()?;
    let (session, media_events) = plane.open(&CallId("call_caller".into())).into_diagnostic()?;
    let now = jiff::Timestamp::now().as_millisecond().unsigned_abs();
    let (negotiation, offer) =
        Negotiation::outbound(&session, &Terms { address: Some(args.bind), created: now, ..Terms::default() });
    let credentials = match (&args.user, &args.password) {
        (Some(user), Some(password)) => {
            Some(Credentials { username: user.clone(), password: password.clone(), realm: None })
        }
        (Some(_), None) => {
            return Err(miette!(help = "set CALLBOX_CALL_PASSWORD", "--user needs a password"));
        }
        _ => None,
    };
    let (dialog, dialog_events) = stack
        .call(OutgoingCall {
            target: args.target.clone(),
            from: args.from.clone(),
            headers: args.headers.clone(),
            credentials,
            offer: Some(offer),
            ring_timeout: Duration::from_millis(args.max),
            ..OutgoingCall::default()
        })
        .await
        .into_diagnostic()
        .wrap_err_with(|| format!("calling {}", args.target))?;
    let caller = Caller {
        telling,
        keys: args.keys,
        play,
        record: args.record,
        hangup_after: args.hangup_after.map(Duration::from_millis),
        until: Instant::now() + Duration::from_millis(args.max),
        dialog,
        dialog_events,
        session,
        media_events,
        negotiation,
        ear: Ear::default(),
        tap: None,
        answered: None,
        quiet_since: None,
    };
    let answered = caller.run().await;
    // The far end hears of it, however it ended here.
    plane.shutdown();
    stack.shutdown().await;
    Ok(if answered? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Caller {
    telling: Telling,
    keys: Keys,
    play: Option<Arc<Clip>>,
    record: Option<PathBuf>,
    hangup_after: Option<Duration>,
    until: Instant,
    dialog: Dialog,
    dialog_events: mpsc::Receiver<DialogEvent>,
    session: Session,
    media_events: mpsc::Receiver<MediaEvent>,
    negotiation: Negotiation,
    ear: Ear,
    tap: Option<Tap>,
    answered: Option<Instant>,
    quiet_since: Option<Instant>,
}

impl Caller {
    async fn run(mut self) -> miette::Result<bool> {
        let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
        loop {
            let deadline = self.deadline();
            tokio::select! {
                event = self.dialog_events.recv() => match event {
                    Some(event) => if self.dialog_event(event).await? { break },
                    None => break,
                },
                Some(event) = self.media_events.recv() => self.media_event(&event),
                Some(frame) = next_frame(&mut self.tap) => {
                    let sound = self.ear.hear(frame.samples());
                    self.heard(sound)?;
                }
                () = sleep_until(deadline) => {
                    if self.time()? {
                        self.hang_up().await;
                        break;
                    }
                }
                _ = interrupt.recv() => {
                    self.hang_up().await;
                    break;
                }
            }
        }
        self.close().await
    }

    async fn hang_up(&self) {
        self.telling.tell("ended", &json!({"by": "caller"}), "hung up");
        if let Err(error) = self.dialog.hangup(None).await {
            // The far end was faster.
            tracing::debug!(%error, "nothing to hang up");
        }
    }

    /// The next moment at which something is due.
    fn deadline(&self) -> Instant {
        let mut deadline = self.until;
        if let Some(answered) = self.answered {
            deadline = deadline.min(answered + self.hangup_after.unwrap_or(Duration::from_secs(86_400)));
            if let Some(at) = self.keys.next_at() {
                deadline = deadline.min(answered + at);
            }
        }
        deadline
    }

    /// Whether it is time to hang up; presses keys that are due.
    fn time(&mut self) -> miette::Result<bool> {
        let now = Instant::now();
        let Some(answered) = self.answered else { return Ok(now >= self.until) };
        if let Some(digits) = self.keys.take(Key::At(now - answered)) {
            self.press(&digits)?;
        }
        Ok(now >= self.until || self.hangup_after.is_some_and(|after| now >= answered + after))
    }

    async fn dialog_event(&mut self, event: DialogEvent) -> miette::Result<bool> {
        match event {
            DialogEvent::Ringing => self.telling.tell("ringing", &json!({}), "it rings"),
            DialogEvent::Progress { sdp, .. } => {
                self.telling.tell("progress", &json!({}), "early media");
                if sdp.is_some() {
                    self.agree(sdp.as_deref())?;
                }
            }
            DialogEvent::Answered { sdp } => {
                self.agree(sdp.as_deref())?;
                self.up()?;
            }
            DialogEvent::Reinvite { sdp } => {
                self.negotiation.reinvite(sdp.as_deref(), &self.session, &self.dialog).await;
            }
            DialogEvent::Ended { by_remote, status, reason, .. } => {
                let by = if by_remote { "far end" } else { "network" };
                let text = match (status, &reason) {
                    (Some(status), Some(reason)) => format!("over: {status} {reason}"),
                    (Some(status), None) => format!("over: {status}"),
                    _ => format!("over: the {by} hung up"),
                };
                self.telling.tell("ended", &json!({"by": by, "status": status, "reason": reason}), &text);
                return Ok(true);
            }
            DialogEvent::Confirmed { .. }
            | DialogEvent::EarlyOffer { .. }
            | DialogEvent::EarlyAnswer { .. }
            | DialogEvent::Digit { .. }
            | DialogEvent::ReferProgress { .. }
            | DialogEvent::ReferRequested { .. }
            | DialogEvent::ReinviteAnswered { .. }
            | DialogEvent::ReinviteFailed { .. } => {}
        }
        Ok(false)
    }

    fn agree(&mut self, sdp: Option<&[u8]>) -> miette::Result<()> {
        let agreed = self.negotiation.confirmed(sdp, &self.session);
        agreed.into_diagnostic().wrap_err("the far end's answer cannot be used")
    }

    fn up(&mut self) -> miette::Result<()> {
        self.answered = Some(Instant::now());
        self.telling.tell("answered", &json!({}), "answered");
        let (sender, tap) = Tap::new(TAP);
        self.tap = Some(tap);
        self.session.send(MediaCommand::Tap(Some(sender))).into_diagnostic()?;
        if let Some(path) = self.record.take() {
            self.session.send(MediaCommand::Record { path }).into_diagnostic()?;
        }
        if let Some(clip) = self.play.take() {
            self.session.send(MediaCommand::Append { prompt: PLAY, clip }).into_diagnostic()?;
            self.session.send(MediaCommand::Complete { prompt: PLAY }).into_diagnostic()?;
            self.session.send(MediaCommand::Play { prompt: PLAY }).into_diagnostic()?;
        }
        Ok(())
    }

    fn heard(&mut self, sound: Option<Sound>) -> miette::Result<()> {
        match sound {
            Some(Sound::Began) => {
                self.quiet_since = None;
                self.telling.tell("hearing", &json!({}), "hears something");
                if let Some(digits) = self.keys.take(Key::AtOnce) {
                    self.press(&digits)?;
                }
            }
            Some(Sound::Ended { ms }) => {
                self.telling.tell("hears", &json!({"ms": ms}), &format!("heard {:.1} s of it", f64::from(ms) / 1000.0));
                if let Some(digits) = self.keys.take(Key::WhenQuiet) {
                    self.press(&digits)?;
                }
            }
            None => {}
        }
        Ok(())
    }

    fn press(&self, digits: &str) -> miette::Result<()> {
        self.telling.tell("pressed", &json!({"digits": digits}), &format!("presses {digits}"));
        self.session.send(MediaCommand::SendDigits { digits: digits.to_owned() }).into_diagnostic()
    }

    fn media_event(&self, event: &MediaEvent) {
        match event {
            MediaEvent::Digit { digit } => {
                self.telling.tell("digit", &json!({"digit": digit}), &format!("the far end pressed {digit}"));
            }
            MediaEvent::RecordingFailed { error, .. } => {
                self.telling.tell("recording_failed", &json!({"error": error}), &format!("cannot record: {error}"));
            }
            _ => {}
        }
    }

    async fn close(self) -> miette::Result<bool> {
        let Self { session, mut media_events, telling, answered, .. } = self;
        drop(session);
        let stats = async {
            while let Some(event) = media_events.recv().await {
                if let MediaEvent::Closed(stats) = event {
                    return Some(stats);
                }
            }
            None
        };
        if let Ok(Some(stats)) = timeout(Duration::from_secs(5), stats).await {
            tell_stats(&telling, &stats);
        }
        Ok(answered.is_some())
    }
}

async fn next_frame(tap: &mut Option<Tap>) -> Option<callbox_media::TapFrame> {
    match tap {
        Some(tap) => tap.next().await,
        None => std::future::pending().await,
    }
}

fn tell_stats(telling: &Telling, stats: &MediaStats) {
    let text = format!(
        "received {} packets, lost {}, jitter {:.1} ms, MOS {:.1}; sent {}",
        stats.packets_received, stats.lost, stats.jitter_ms, stats.mos, stats.packets_sent
    );
    telling.tell("media", &json!({ "stats": stats }), &text);
}

/// What goes to the terminal: stdout is the product of this command.
struct Telling {
    json: bool,
    began: Instant,
}

impl Telling {
    fn tell(&self, event: &str, details: &serde_json::Value, text: &str) {
        let at = self.began.elapsed();
        let line = if self.json {
            let mut line = json!({"event": event, "at_ms": u64::try_from(at.as_millis()).unwrap_or(u64::MAX)});
            if let (Some(line), Some(details)) = (line.as_object_mut(), details.as_object()) {
                line.extend(details.clone());
            }
            line.to_string()
        } else {
            format!("{:>7.2} s  {text}", at.as_secs_f64())
        };
        // Whoever reads may have seen enough; the call goes on to its end all the same.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
