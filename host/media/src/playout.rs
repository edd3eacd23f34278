//! The prompts of a call: what sounds now, what is queued behind it, what is being made.

use crate::clip::Clip;
use crate::command::MediaEvent;
use callbox_dialogue::PromptId;
use callbox_dialogue::time::Millis;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Prompts that are known at a time. The engine has one or two.
const MAX_PROMPTS: usize = 64;
/// Pieces of one prompt that wait; a piece is about a sentence.
const MAX_CLIPS: usize = 4_096;
/// Prompts that were stopped, so that audio still on its way to them is not taken for a new prompt.
const STOPPED: usize = 16;

#[derive(Debug)]
struct Prompt {
    id: PromptId,
    clips: VecDeque<Arc<Clip>>,
    /// Samples of the first clip that are out.
    at: usize,
    /// Samples that are out in all.
    played: u64,
    complete: bool,
    started: bool,
    /// Held back: it keeps its place in the queue and says nothing.
    paused: bool,
    /// It has been resumed since its last packet.
    resumed: bool,
}

impl Prompt {
    fn ended(&self, complete: bool) -> MediaEvent {
        let played = Millis::try_from(self.played / 8).unwrap_or(Millis::MAX);
        MediaEvent::PromptEnded { prompt: self.id, played, complete }
    }
}

/// The prompts of one call.
#[derive(Debug, Default)]
pub struct Playout {
    prompts: Vec<Prompt>,
    /// The first one sounds.
    queue: VecDeque<PromptId>,
    stopped: VecDeque<PromptId>,
}

impl Playout {
    /// More audio for a prompt.
    pub fn append(&mut self, id: PromptId, clip: Arc<Clip>) {
        if let Some(prompt) = self.prompt(id)
            && prompt.clips.len() < MAX_CLIPS
            && !clip.samples().is_empty()
        {
            prompt.clips.push_back(clip);
        }
    }

    /// A prompt has all its audio.
    pub fn complete(&mut self, id: PromptId) {
        if let Some(prompt) = self.prompt(id) {
            prompt.complete = true;
        }
    }

    /// Queues a prompt.
    pub fn play(&mut self, id: PromptId) {
        if self.prompt(id).is_some() && !self.queue.contains(&id) {
            self.queue.push_back(id);
        }
    }

    /// Holds a prompt back from the next packet on, or lets it go on where it stopped.
    pub fn pause(&mut self, id: PromptId, paused: bool) {
        if let Some(prompt) = self.prompts.iter_mut().find(|prompt| prompt.id == id) {
            prompt.resumed |= prompt.paused && !paused;
            prompt.paused = paused;
        }
    }

    /// Forgets a prompt; reports its end if it was playing or queued.
    pub fn stop(&mut self, id: PromptId) -> Option<MediaEvent> {
        let queued = self.queue.contains(&id);
        self.queue.retain(|queued| *queued != id);
        if self.stopped.len() == STOPPED {
            self.stopped.pop_front();
        }
        self.stopped.push_back(id);
        let at = self.prompts.iter().position(|prompt| prompt.id == id)?;
        let prompt = self.prompts.remove(at);
        queued.then(|| prompt.ended(false))
    }

    /// Whether a prompt sounds or would, if it had audio. One that is paused does not.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.queue.front().is_some_and(|id| self.find(*id).is_none_or(|prompt| !prompt.paused))
    }

    /// Whether the next packet is the first of a prompt, or the first after a pause.
    #[must_use]
    pub fn starts(&self) -> bool {
        self.queue.front().and_then(|id| self.find(*id)).is_some_and(|prompt| !prompt.started || prompt.resumed)
    }

    /// Fills a packet of so many samples with what comes next: `copy` is told to put samples of a clip, from this one
    /// on, into this part of the packet. Calls `event` for what begins and ends with it. Returns how many samples are a
    /// prompt's; the rest is silence.
    pub fn fill(
        &mut self,
        samples: usize,
        mut copy: impl FnMut(&Arc<Clip>, usize, Range<usize>),
        mut event: impl FnMut(MediaEvent),
    ) -> usize {
        let mut filled = 0;
        while let Some(id) = self.queue.front().copied() {
            let Some(at) = self.prompts.iter().position(|prompt| prompt.id == id) else {
                self.queue.pop_front();
                continue;
            };
            let prompt = &mut self.prompts[at];
            if prompt.paused {
                break;
            }
            while let Some(clip) = prompt.clips.front()
                && filled < samples
            {
                let count = (clip.samples().len() - prompt.at).min(samples - filled);
                copy(clip, prompt.at, filled..filled + count);
                filled += count;
                prompt.at += count;
                prompt.played += count as u64;
                if prompt.at == clip.samples().len() {
                    prompt.clips.pop_front();
                    prompt.at = 0;
                }
            }
            if filled > 0 && !prompt.started {
                prompt.started = true;
                event(MediaEvent::PromptStarted { prompt: id });
            }
            prompt.resumed &= filled == 0;
            if !(prompt.complete && prompt.clips.is_empty()) {
                break;
            }
            event(prompt.ended(true));
            self.prompts.remove(at);
            self.queue.pop_front();
            // The next one begins with a packet of its own; an empty prompt takes no time.
            if filled > 0 {
                break;
            }
        }
        filled
    }

    fn find(&self, id: PromptId) -> Option<&Prompt> {
        self.prompts.iter().find(|prompt| prompt.id == id)
    }

    /// The prompt of this name, new where it has not been heard of.
    fn prompt(&mut self, id: PromptId) -> Option<&mut Prompt> {
        if let Some(at) = self.prompts.iter().position(|prompt| prompt.id == id) {
            return self.prompts.get_mut(at);
        }
        if self.stopped.contains(&id) {
            return None;
        }
        if self.prompts.len() == MAX_PROMPTS {
            // Somebody prepares and never plays: the oldest of those goes.
            let at = self.prompts.iter().position(|prompt| !self.queue.contains(&prompt.id))?;
            self.prompts.remove(at);
        }
        self.prompts.push(Prompt {
            id,
            clips: VecDeque::new(),
            at: 0,
            played: 0,
            complete: false,
            started: false,
            paused: false,
            resumed: false,
        });
        self.prompts.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PromptId = PromptId(1);
    const B: PromptId = PromptId(2);

    fn clip(length: usize) -> Arc<Clip> {
        Clip::from_pcm((0..length).map(|n| (n as i16 % 300 + 1) * 64).collect())
    }

    fn fill(playout: &mut Playout) -> (Vec<i16>, usize, Vec<MediaEvent>) {
        let (mut out, mut events) = (vec![0; 160], Vec::new());
        let copy = |clip: &Arc<Clip>, from: usize, to: Range<usize>| {
            let length = to.len();
            out[to].copy_from_slice(&clip.samples()[from..from + length]);
        };
        let filled = playout.fill(160, copy, |event| events.push(event));
        (out, filled, events)
    }

    const fn ended(prompt: PromptId, played: Millis, complete: bool) -> MediaEvent {
        MediaEvent::PromptEnded { prompt, played, complete }
    }

    #[test]
    fn plays_all_clips_without_a_seam_and_tells_begin_and_end() {
        let (mut playout, one, two) = (Playout::default(), clip(200), clip(100));
        playout.append(A, Arc::clone(&one));
        playout.append(A, Arc::clone(&two));
        playout.complete(A);
        assert_eq!(fill(&mut playout).1, 0, "not before it is told to");
        playout.play(A);
        assert!(playout.starts());
        let (first, filled, events) = fill(&mut playout);
        assert_eq!((filled, events), (160, vec![MediaEvent::PromptStarted { prompt: A }]));
        assert!(!playout.starts());
        let (second, filled, events) = fill(&mut playout);
        assert_eq!((filled, events), (140, vec![ended(A, 37, true)]));
        let expected = [one.samples(), two.samples(), &[0; 20]].concat();
        assert_eq!([first, second].concat(), expected);
        assert!(!playout.busy());
    }

    #[test]
    fn an_underrun_is_silence_and_not_counted() {
        let mut playout = Playout::default();
        playout.append(A, clip(80));
        playout.play(A);
        assert_eq!(fill(&mut playout).1, 80);
        assert_eq!(fill(&mut playout), (vec![0; 160], 0, vec![]));
        playout.append(A, clip(160));
        playout.complete(A);
        assert_eq!(fill(&mut playout).2, [ended(A, 30, true)]);
    }

    #[test]
    fn stopping_reports_what_was_heard_and_late_audio_does_not_revive() {
        let mut playout = Playout::default();
        playout.append(A, clip(1_000));
        playout.play(A);
        playout.play(B);
        fill(&mut playout);
        assert_eq!(playout.stop(A), Some(ended(A, 20, false)));
        assert_eq!(playout.stop(B), Some(ended(B, 0, false)), "it was queued");
        playout.append(A, clip(10));
        playout.play(A);
        assert_eq!(fill(&mut playout).1, 0);
        assert_eq!(playout.stop(A), None);
    }

    #[test]
    fn a_paused_prompt_goes_on_with_the_sample_at_which_it_stopped() {
        let (mut playout, said) = (Playout::default(), clip(400));
        playout.append(A, Arc::clone(&said));
        playout.complete(A);
        playout.append(B, clip(160));
        playout.complete(B);
        playout.play(A);
        playout.play(B);
        let (first, ..) = fill(&mut playout);
        playout.pause(A, true);
        assert!(!playout.busy(), "others may speak meanwhile");
        assert_eq!(fill(&mut playout), (vec![0; 160], 0, vec![]), "and the next one waits");
        playout.pause(A, false);
        assert!(playout.busy() && playout.starts());
        let (second, ..) = fill(&mut playout);
        assert!(!playout.starts());
        let (third, filled, events) = fill(&mut playout);
        assert_eq!([&first[..], &second, &third[..80]].concat(), said.samples());
        assert_eq!((filled, events), (80, vec![ended(A, 50, true)]), "what was silence is not counted");
        assert_eq!(fill(&mut playout).1, 160, "the next one");
    }

    #[test]
    fn a_paused_prompt_can_be_stopped_and_one_that_waits_can_be_paused() {
        let mut playout = Playout::default();
        for id in [A, B] {
            playout.append(id, clip(400));
            playout.play(id);
        }
        fill(&mut playout);
        playout.pause(A, true);
        playout.pause(B, true);
        assert_eq!(playout.stop(A), Some(ended(A, 20, false)));
        assert_eq!(fill(&mut playout).1, 0);
        playout.pause(B, false);
        assert_eq!(fill(&mut playout).2, [MediaEvent::PromptStarted { prompt: B }]);
        playout.pause(PromptId(9), true);
    }

    #[test]
    fn queued_prompts_follow_in_the_next_packet_and_empty_ones_take_no_time() {
        let mut playout = Playout::default();
        for (id, length) in [(A, 170), (B, 0), (PromptId(3), 160)] {
            playout.append(id, clip(length));
            playout.complete(id);
            playout.play(id);
        }
        assert_eq!(fill(&mut playout).1, 160);
        assert_eq!(fill(&mut playout).2, [ended(A, 21, true)]);
        let (_, filled, events) = fill(&mut playout);
        assert_eq!(filled, 160);
        assert_eq!(
            events,
            [ended(B, 0, true), MediaEvent::PromptStarted { prompt: PromptId(3) }, ended(PromptId(3), 20, true)]
        );
    }

    #[test]
    fn what_is_prepared_and_never_played_is_bounded() {
        let mut playout = Playout::default();
        playout.append(A, clip(160));
        playout.play(A);
        for id in 10..500 {
            playout.append(PromptId(id), clip(1));
        }
        assert_eq!(playout.prompts.len(), MAX_PROMPTS);
        assert_eq!(fill(&mut playout).1, 160, "what plays is not forgotten");
    }
}
