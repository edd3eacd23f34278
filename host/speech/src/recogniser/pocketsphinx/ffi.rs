//! The functions of `libpocketsphinx.so.3` that we call, found when the process
//! starts.
//!
//! Their types are those of Debian's `pocketsphinx.h` 0.8+5prealpha, which
//! differ from 0.8: `ps_start_utt` and `ps_get_hyp` have no utterance id. A
//! library that still has `ps_get_uttid` is therefore refused. What belongs to
//! libsphinxbase is found through the same handle, as its dependency.

#![allow(unsafe_code, reason = "a C library is loaded and its functions are looked up; each use has its proof")]

use libloading::Library;
use std::ffi::{OsStr, c_char, c_int, c_void};

/// A `ps_decoder_t`.
#[repr(C)]
pub(super) struct RawDecoder {
    _opaque: [u8; 0],
}

/// A `cmd_ln_t`.
#[repr(C)]
pub(super) struct RawConfig {
    _opaque: [u8; 0],
}

/// A `ps_seg_t`.
#[repr(C)]
pub(super) struct RawSegment {
    _opaque: [u8; 0],
}

/// Declares the table of functions, with the C prototype of each as a type.
macro_rules! functions {
    ($($(#[$about:meta])* $name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions; valid for as long as this value lives, as it owns the library.
        pub(super) struct Functions {
            $($(#[$about])* pub(super) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            _library: Library,
        }

        impl Functions {
            /// Loads the library.
            ///
            /// # Errors
            /// What the system's loader says, or which function is missing.
            pub(super) fn load(path: &OsStr) -> Result<Self, LoadError> {
                // SAFETY: the operator's own library; its initialisers, and those of libsphinxbase, do nothing but
                // set up tables.
                let library = unsafe { Library::new(path) }.map_err(|error| LoadError::Missing(error.to_string()))?;
                // SAFETY: only looked for, never called.
                if unsafe { library.get::<*const c_void>(b"ps_get_uttid\0") }.is_ok() {
                    return Err(LoadError::Other("it is version 0.8, not 5prealpha".to_owned()));
                }
                $(
                    // SAFETY: the type is that of the header named above, and the pointer is kept with its library.
                    let $name = unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                        .map(|symbol| *symbol)
                        .map_err(|error| LoadError::Other(error.to_string()))?;
                )*
                Ok(Self { $($name,)* _library: library })
            }
        }
    };
}

/// Why there is no library.
#[derive(Debug)]
pub(super) enum LoadError {
    /// It is not there.
    Missing(String),
    /// It is not what it should be.
    Other(String),
}

functions! {
    /// The definitions of all options.
    ps_args: fn() -> *const c_void;
    /// Parses options; none for those that are none.
    cmd_ln_parse_r: fn(*mut RawConfig, *const c_void, i32, *mut *mut c_char, i32) -> *mut RawConfig;
    /// Gives a reference to options back.
    cmd_ln_free_r: fn(*mut RawConfig) -> c_int;
    /// Where messages go; nowhere for null.
    err_set_logfp: fn(*mut c_void);
    /// Makes a decoder, which keeps a reference to its options.
    ps_init: fn(*mut RawConfig) -> *mut RawDecoder;
    /// Gives a decoder back.
    ps_free: fn(*mut RawDecoder) -> c_int;
    /// Adds a word: name, phones, whether to rebuild the searches.
    ps_add_word: fn(*mut RawDecoder, *const c_char, *const c_char, c_int) -> c_int;
    /// Adds a grammar by a name.
    ps_set_jsgf_string: fn(*mut RawDecoder, *const c_char, *const c_char) -> c_int;
    /// Chooses a grammar by its name.
    ps_set_search: fn(*mut RawDecoder, *const c_char) -> c_int;
    /// Begins an utterance.
    ps_start_utt: fn(*mut RawDecoder) -> c_int;
    /// Takes cepstra, of which it takes the mean away in place: a pointer to each frame's, count, whether not to search
    /// yet, whether this is all.
    ps_process_cep: fn(*mut RawDecoder, *mut *mut f32, c_int, c_int, c_int) -> c_int;
    /// Ends an utterance.
    ps_end_utt: fn(*mut RawDecoder) -> c_int;
    /// The words so far, and their score; owned by the decoder until its next call.
    ps_get_hyp: fn(*mut RawDecoder, *mut i32) -> *const c_char;
    /// The first segment of the words; consumed by going on to the next.
    ps_seg_iter: fn(*mut RawDecoder) -> *mut RawSegment;
    /// The next segment; frees the iterator where there is none.
    ps_seg_next: fn(*mut RawSegment) -> *mut RawSegment;
    /// Its word; owned by the decoder.
    ps_seg_word: fn(*mut RawSegment) -> *const c_char;
    /// Its first and last frame of 10 ms.
    ps_seg_frames: fn(*mut RawSegment, *mut c_int, *mut c_int);
    /// Its posterior, and by reference the acoustic and language scores and the back-off.
    ps_seg_prob: fn(*mut RawSegment, *mut i32, *mut i32, *mut i32) -> i32;
}
