//! What a voice would be like without the noise and without the telephone.
//!
//! The model was made of clean, wide voices. In noise, its grammar decoder hears the noise: of 108 answers at 10 dB it
//! had 5. But the model also says what the bands of clean voices are like: a few hundred of its densities are a prior.
//! With an estimate of the noise, from the softest frames, each density predicts what is heard of it (the energies add
//! up); the densities that predict a frame best say how much of it is noise, and what is in the bands that a telephone
//! does not carry. This is the vector Taylor series of Moreno (1996), for features, to the order zero. What the way
//! here does to every frame alike, a gain and a colour, is learnt from the passage itself.
//!
//! Wiener's filter in the same bands was as good at 20 dB, and half as good at 10 dB.

use super::features::{self, BANDS, Bands, CEPSTRA, Cepstra, Features};
use std::path::Path;

/// Densities of the prior, about.
const DENSITIES: usize = 256;
/// How often the densities are compared with the frames; each time but the last, the gain is learnt from it.
const ROUNDS: usize = 3;
/// The share of frames that are taken for noise alone.
const SOFTEST: usize = 5;
/// So many of them at least.
const FEWEST: usize = 5;
/// The level that a voice is thought to have at first is that of its loudest tenth.
const LOUDEST: usize = 10;
/// Variance, of natural logarithms, of what cepstra leave out of a band; of noise; and of both.
const DETAIL: f32 = 1.0;
const OF_NOISE: f32 = 0.3;
const OF_ALL: f32 = 0.05;
/// The gain moves by what so many frames would say, less one part in so many.
const INERTIA: f32 = 5.0;
/// Densities that are less likely than this add nothing.
const UNLIKELY: f32 = 1e-4;
/// Logarithms further apart than this are as good as infinitely far.
const FAR: f32 = 30.0;

/// The mean of the cepstra of clean voices: `-cmninit` of the model, from which its densities are told.
const MEAN: Cepstra = [41.0, -5.29, -0.12, 5.09, 2.48, -4.07, -1.37, -1.78, -5.08, -2.05, -6.45, -1.42, 1.17];

/// What clean voices are like.
pub(super) struct Voices {
    features: Features,
    densities: Vec<Density>,
    /// The colour to begin with.
    colour: Bands,
}

/// A sound, as logarithms of energies.
struct Density {
    mean: Bands,
    variance: Bands,
}

/// What is to be heard of a density in noise.
struct Expected {
    mean: Bands,
    /// How much louder it is than the voice alone.
    added: Bands,
    /// How much of it is voice.
    voice: Bands,
    /// The inverse of the variance, and minus half of its logarithm over all bands.
    precision: Bands,
    scale: f32,
}

impl Voices {
    /// Takes them from the files of a model.
    ///
    /// # Errors
    /// Which file is none, and why.
    pub(super) fn read(model: &Path) -> Result<Self, String> {
        let file = model.join("feat.params");
        let parameters = std::fs::read_to_string(&file).map_err(|error| format!("`{}`: {error}", file.display()))?;
        if let Some(what) = features::mismatch(&parameters) {
            return Err(format!("`{}`: {what}", file.display()));
        }
        let features = Features::new();
        let means = densities(&model.join("means"))?;
        let variances = densities(&model.join("variances"))?;
        if means.len() != variances.len() {
            return Err(format!("{} means and {} variances", means.len(), variances.len()));
        }
        let every = (means.len() / DENSITIES).max(1);
        let densities = means.iter().zip(&variances).step_by(every).map(|(mean, variance)| Density {
            mean: features.levels(mean),
            variance: features.variances(variance).map(|variance| variance.max(0.0) + DETAIL),
        });
        let densities = densities.collect();
        let colour = features.levels(&MEAN);
        Ok(Self { features, densities, colour })
    }

    /// What a decoder takes: the frames of audio at 16 kHz, which was brought to it from this rate.
    pub(super) fn alone(&self, audio: &[i16], rate_hz: u32) -> Vec<Cepstra> {
        let cleaned = self.cleaned(&self.features.bands(audio), self.features.carried(rate_hz));
        cleaned.iter().map(|levels| self.features.cepstra(levels)).collect()
    }

    /// The logarithms of the bands as they would be without noise. There is something in the first `carried` bands only.
    fn cleaned(&self, frames: &[Bands], carried: usize) -> Vec<Bands> {
        let heard: Vec<Bands> = frames.iter().map(|bands| bands.map(f32::ln)).collect();
        let noise = noise(frames, &heard, carried);
        let mut gain = self.gain(&heard, carried);
        for _ in 1..ROUNDS {
            self.learn(&heard, &self.expected(&gain, &noise, carried), carried, &mut gain);
        }
        let expected = self.expected(&gain, &noise, carried);
        let (mut cleaned, mut likely) = (heard, Vec::new());
        for bands in &mut cleaned {
            likeliest(&expected, bands, carried, &mut likely);
            bands[carried..].copy_from_slice(&gain[carried..]);
            for &(at, share) in &likely {
                let (added, mean) = (&expected[at].added, &self.densities[at].mean);
                let (lower, upper) = bands.split_at_mut(carried);
                lower.iter_mut().zip(added).for_each(|(level, added)| *level -= share * added);
                upper.iter_mut().zip(&mean[carried..]).for_each(|(level, mean)| *level += share * mean);
            }
        }
        cleaned
    }

    fn expected(&self, gain: &Bands, noise: &Bands, carried: usize) -> Vec<Expected> {
        self.densities.iter().map(|density| expected(density, gain, noise, carried)).collect()
    }

    /// The gain to begin with: as loud as the loudest of what is heard.
    fn gain(&self, heard: &[Bands], carried: usize) -> Bands {
        let loud = |levels: Vec<f32>| {
            let mut levels = levels;
            levels.sort_by(|a, b| b.total_cmp(a));
            levels.get(levels.len() / LOUDEST).copied().unwrap_or_default()
        };
        let level = |bands: &Bands| bands[..carried].iter().sum::<f32>() / carried as f32;
        let ours = self.densities.iter().map(|density| level(&density.mean) + level(&self.colour)).collect();
        let more = loud(heard.iter().map(level).collect()) - loud(ours);
        self.colour.map(|band| band + more)
    }

    /// Moves the gain towards what the frames say of it.
    fn learn(&self, heard: &[Bands], expected: &[Expected], carried: usize, gain: &mut Bands) {
        let (mut off, mut weight) = ([0.0; BANDS], [0.0; BANDS]);
        let mut likely = Vec::new();
        for bands in heard {
            likeliest(expected, bands, carried, &mut likely);
            let mut added = [0.0; BANDS];
            for &(at, share) in &likely {
                for (added, more) in added.iter_mut().zip(&expected[at].added) {
                    *added += share * more;
                }
            }
            for &(at, share) in &likely {
                let (density, expected) = (&self.densities[at], &expected[at]);
                for (band, (off, weight)) in off.iter_mut().zip(&mut weight).enumerate().take(carried) {
                    let part = share * expected.voice[band];
                    *off += part * (bands[band] - added[band] - density.mean[band] - gain[band]);
                    *weight += part;
                }
            }
        }
        let mut all = 0.0;
        for (gain, (off, weight)) in gain.iter_mut().zip(off.iter().zip(&weight)).take(carried) {
            let step = off / (weight + INERTIA);
            *gain += step;
            all += step / carried as f32;
        }
        // Of what is not carried we know nothing: it is as loud as the rest.
        gain[carried..].iter_mut().for_each(|gain| *gain += all);
    }
}

/// The levels of the noise: the mean of the softest frames.
fn noise(frames: &[Bands], heard: &[Bands], carried: usize) -> Bands {
    let mut softest: Vec<(f32, &Bands)> =
        heard.iter().zip(frames).map(|(levels, bands)| (levels[..carried].iter().sum(), bands)).collect();
    softest.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let count = (frames.len() / SOFTEST).max(FEWEST).min(frames.len()).max(1);
    let mean = |band: usize| softest.iter().take(count).map(|(_, bands)| bands[band]).sum::<f32>() / count as f32;
    std::array::from_fn(|band| mean(band).max(f32::MIN_POSITIVE).ln())
}

fn expected(density: &Density, gain: &Bands, noise: &Bands, carried: usize) -> Expected {
    let [mut mean, mut added, mut voice, mut precision] = [[0.0; BANDS]; 4];
    let mut scale = 0.0;
    for (band, noise) in noise.iter().enumerate().take(carried) {
        let alone = density.mean[band] + gain[band];
        let ratio = (noise - alone).clamp(-FAR, FAR).exp();
        voice[band] = 1.0 / (1.0 + ratio);
        added[band] = ratio.ln_1p();
        mean[band] = alone + added[band];
        let of_noise = 1.0 - voice[band];
        let variance = voice[band].powi(2) * density.variance[band] + of_noise.powi(2) * OF_NOISE + OF_ALL;
        precision[band] = 1.0 / variance;
        scale -= variance.ln() / 2.0;
    }
    Expected { mean, added, voice, precision, scale }
}

/// The densities that a frame may be of, with their shares, which sum up to one.
fn likeliest(expected: &[Expected], bands: &Bands, carried: usize, likely: &mut Vec<(usize, f32)>) {
    likely.clear();
    let fit = |of: &Expected| {
        let distance: f32 = (bands[..carried].iter().zip(&of.mean).zip(&of.precision))
            .map(|((level, mean), precision)| (level - mean).powi(2) * precision)
            .sum();
        of.scale - distance / 2.0
    };
    likely.extend(expected.iter().map(fit).enumerate());
    let best = likely.iter().fold(f32::MIN, |best, (_, fit)| best.max(*fit));
    likely.retain_mut(|(_, fit)| {
        *fit = (*fit - best).exp();
        *fit > UNLIKELY
    });
    let sum: f32 = likely.iter().map(|(_, share)| share).sum();
    likely.iter_mut().for_each(|(_, share)| *share /= sum);
}

/// The first cepstra of each density in a file of means or variances, as SphinxTrain writes them: a header of text,
/// then, little-endian, a mark of the byte order, how many codebooks, streams and densities there are, the length of
/// each stream's vectors, how many numbers follow, and these.
fn densities(file: &Path) -> Result<Vec<Cepstra>, String> {
    const HEADER_ENDS: &[u8] = b"endhdr\n";
    const BYTE_ORDER: usize = 0x1122_3344;
    let bytes = std::fs::read(file).map_err(|error| format!("`{}`: {error}", file.display()))?;
    let parsed = || {
        let body = bytes.windows(HEADER_ENDS.len()).position(|part| part == HEADER_ENDS)? + HEADER_ENDS.len();
        let (words, _) = bytes[body..].as_chunks::<4>();
        let number = |at: usize| words.get(at).map(|&word| u32::from_le_bytes(word) as usize);
        let (codebooks, streams, each) = (number(1)?, number(2)?, number(3)?);
        let lengths: Vec<usize> = (0..streams.min(8)).map_while(|stream| number(4 + stream)).collect();
        let total: usize = lengths.iter().sum::<usize>().checked_mul(each)?;
        let first = *lengths.first()?;
        let numbers = words.get(5 + streams..)?;
        if number(0)? != BYTE_ORDER || first < CEPSTRA || codebooks.checked_mul(total)? > numbers.len() {
            return None;
        }
        let numbers: Vec<f32> = numbers.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let codebooks = numbers.chunks_exact(total.max(1)).take(codebooks);
        let vectors = codebooks.flat_map(|codebook| codebook.chunks_exact(first).take(each));
        let firsts: Vec<Cepstra> = vectors.filter_map(|vector| vector.first_chunk().copied()).collect();
        (!firsts.is_empty() && firsts.as_flattened().iter().all(|number| number.is_finite())).then_some(firsts)
    };
    parsed().ok_or_else(|| format!("`{}` holds no densities of {CEPSTRA} cepstra", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Voices of a few sounds that are like nothing else.
    fn voices() -> Voices {
        let density = |at: usize| Density {
            mean: std::array::from_fn(|band| 3.0 * (at as f32 * 1.3 + band as f32 * (0.3 + 0.1 * at as f32)).sin()),
            variance: [DETAIL; BANDS],
        };
        Voices { features: Features::new(), densities: (0..12).map(density).collect(), colour: [8.0; BANDS] }
    }

    fn apart(a: &[Bands], b: &[Bands], which: std::ops::Range<usize>) -> f32 {
        let count = (a.len() * which.len()) as f32;
        a.iter().zip(b).flat_map(|(a, b)| which.clone().map(|band| (a[band] - b[band]).abs())).sum::<f32>() / count
    }

    #[test]
    fn noise_is_taken_away_and_what_is_not_carried_is_filled_in() {
        let (voices, carried) = (voices(), 18);
        // Sounds that follow each other, with pauses, ten times as loud as voices are thought to be at first.
        let said = (0..120).map(|frame| match frame % 12 {
            0..4 => [f32::ln(100.0); BANDS],
            _ => voices.densities[frame / 12].mean.map(|band| band + 8.0 + f32::ln(10.0)),
        });
        let said: Vec<Bands> = said.collect();
        let noise = f32::exp(9.5);
        let heard: Vec<Bands> = (said.iter())
            .map(|bands| std::array::from_fn(|band| if band < carried { bands[band].exp() + noise } else { 100.0 }))
            .collect();
        let levels: Vec<Bands> = heard.iter().map(|bands| bands.map(f32::ln)).collect();
        let cleaned = voices.cleaned(&heard, carried);
        let voiced = |frames: &[Bands]| -> Vec<Bands> {
            frames.iter().enumerate().filter(|(frame, _)| frame % 12 >= 4).map(|(_, bands)| *bands).collect()
        };
        let (said, levels, cleaned) = (voiced(&said), voiced(&levels), voiced(&cleaned));
        let (before, after) = (apart(&levels, &said, 0..carried), apart(&cleaned, &said, 0..carried));
        assert!(after < before / 2.0, "{before} {after}");
        let (before, after) = (apart(&levels, &said, carried..BANDS), apart(&cleaned, &said, carried..BANDS));
        assert!(after < before / 4.0, "{before} {after}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_heard_comes_out_as_numbers(
            levels in prop::collection::vec(prop::array::uniform25(100_f32..1e13), 1..30), wide in any::<bool>(),
        ) {
            let carried = if wide { BANDS } else { 18 };
            let cleaned = voices().cleaned(&levels, carried);
            prop_assert_eq!(cleaned.len(), levels.len());
            prop_assert!(cleaned.as_flattened().iter().all(|level| level.is_finite()));
        }
    }

    /// A file of two codebooks with two densities each of these streams.
    fn file(lengths: &[u32]) -> Vec<u8> {
        let total = 4 * lengths.iter().sum::<u32>();
        let header = [0x1122_3344, 2, u32::try_from(lengths.len()).unwrap(), 2].into_iter();
        let words = header.chain(lengths.iter().copied()).chain([total]).map(u32::to_le_bytes);
        let numbers = (0..total).map(|number| (number as f32).to_le_bytes());
        b"s3\nversion 1.0\nchksum0 yes\n endhdr\n".iter().copied().chain(words.chain(numbers).flatten()).collect()
    }

    #[test]
    fn densities_are_read_from_the_first_stream() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("means");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            densities(&path)
        };
        for (lengths, starts) in [(&[13, 13, 13][..], [0.0, 13.0, 78.0, 91.0]), (&[39], [0.0, 39.0, 78.0, 117.0])] {
            let found = read(&file(lengths)).unwrap();
            assert_eq!(found.iter().map(|cepstra| cepstra[0]).collect::<Vec<_>>(), starts);
            assert_eq!(found[1][12], starts[1] + 12.0);
        }
        let whole = file(&[13]);
        let short = &whole[..whole.len() - 60];
        for bytes in [&b""[..], &b"s3\nendhdr\n"[..], short, &file(&[12])[..], &file(&[])[..], &[0xff; 200][..]] {
            assert!(read(bytes).unwrap_err().contains("no densities"), "{}", bytes.len());
        }
        assert!(densities(&folder.path().join("none")).is_err());
    }
}
