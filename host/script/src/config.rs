//! What a deployment may set, with the reasons for the numbers.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// One kibibyte.
const KIB: u64 = 1 << 10;
/// One mebibyte.
const MIB: u64 = 1 << 20;

/// The most memory any plan may give one script. Compiled into the bounds
/// checks of every artefact, so it is a constant and not a setting.
pub const MEMORY_CEILING: u64 = 128 * MIB;

/// How to run scripts on this machine.
#[derive(Clone, Debug)]
pub struct ScriptConfig {
    /// Where compiled scripts and the key that authenticates them are kept.
    /// Created with mode 0700; nobody else may write here.
    pub cache_dir: PathBuf,
    /// The program that compiles, called with the one argument
    /// `compile-worker`: this very binary, or `callbox-compile-worker`.
    pub compiler: PathBuf,
    /// Calls with a script at the same time. Lowered where the kernel's
    /// `vm.max_map_count` cannot carry so many; see
    /// [`crate::ScriptHost::capacity`].
    pub max_instances: u32,
    /// What one call's script may use.
    pub limits: ScriptLimits,
    /// What an upload may look like.
    pub shape: ShapeLimits,
    /// Whether the audio of an asset can be played; why not, for its author. Asked at an upload. The room of audio
    /// knows; by default everything that looks like a WAV file may come.
    pub playable: fn(&[u8]) -> Result<(), String>,
    /// What a compilation may use.
    pub compile: CompileLimits,
    /// Compiled code kept in memory for scripts without a running call.
    pub code_memory: u64,
    /// Whether the optimising compiler follows the fast one. A tool that is over in a second has nothing of it.
    pub optimise: bool,
}

impl ScriptConfig {
    /// The defaults, for a cache directory and a compiler.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>, compiler: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            compiler: compiler.into(),
            max_instances: 2_000,
            limits: ScriptLimits::default(),
            shape: ShapeLimits::default(),
            playable: |_| Ok(()),
            compile: CompileLimits::default(),
            code_memory: 1024 * MIB,
            optimise: true,
        }
    }
}

/// What the script of one call may use. What happens beyond is written at each
/// limit; only that call is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptLimits {
    /// CPU time between two calls that may wait for the world, start included:
    /// the caller hears nothing meanwhile. Beyond: ended.
    pub cpu_per_turn_ms: u32,
    /// CPU time of the whole call. Beyond: ended.
    pub cpu_per_call_ms: u32,
    /// Linear memory in bytes, all memories of the component together, at most
    /// [`MEMORY_CEILING`]. Beyond: `memory.grow` fails, and a script that then
    /// gives up is reported as out of memory.
    pub memory: u64,
    /// Elements of all tables together. Beyond: `table.grow` fails.
    pub table_elements: u32,
    /// Host calls a second, sustained. Beyond, and beyond the burst: ended.
    pub host_calls_per_second: u32,
    /// Host calls that may be saved up.
    pub host_calls_burst: u32,
    /// Bytes a script may hand over in one host call, in sum. Beyond: ended,
    /// before they are copied. Sizes of single texts are checked besides, with
    /// an `invalid-argument` the script can handle.
    pub transfer_bytes: u32,
    /// Resources alive at once, as the script sees them. Beyond:
    /// `limit-exceeded`.
    pub handles: u32,
    /// Bytes of log of one call. Beyond: dropped and counted.
    pub log_bytes_per_call: u64,
    /// Lines of log a second. Beyond, and beyond a burst of ten times as many:
    /// dropped and counted.
    pub log_lines_per_second: u32,
    /// Bytes of one line of log. Beyond: cut.
    pub log_line_bytes: u32,
    /// Bytes of the tape of one call. Beyond: the tape says that it is not
    /// complete.
    pub tape_bytes: u64,
    /// Host calls on the tape.
    pub tape_entries: u32,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            cpu_per_turn_ms: 200,
            cpu_per_call_ms: 10_000,
            memory: 64 * MIB,
            table_elements: 60_000,
            host_calls_per_second: 500,
            host_calls_burst: 2_000,
            transfer_bytes: 256 * 1024,
            handles: 256,
            log_bytes_per_call: 256 * KIB,
            log_lines_per_second: 50,
            log_line_bytes: 4_096,
            tape_bytes: MIB,
            tape_entries: 10_000,
        }
    }
}

/// What an upload may look like. The numbers leave room for a whole CPython
/// (38 modules, 18 MB, largest function 427 kB) and keep compile bombs small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapeLimits {
    /// Bytes of the component, assets included.
    pub size: u64,
    /// Core modules, at any depth.
    pub core_modules: u32,
    /// Components inside the component, at any depth.
    pub components: u32,
    /// How deep components may be nested.
    pub component_depth: u32,
    /// Instances, of modules and of components, written down at any depth.
    pub instances: u32,
    /// Functions with a body.
    pub functions: u32,
    /// Bytes of the largest function body.
    pub body: u32,
    /// Locals of one function.
    pub locals: u32,
    /// Memories.
    pub memories: u32,
    /// Tables.
    pub tables: u32,
    /// Elements of one table.
    pub table_elements: u32,
    /// Initial memory, all memories together, in bytes.
    pub initial_memory: u64,
    /// Audio files.
    pub assets: u32,
}

impl Default for ShapeLimits {
    fn default() -> Self {
        Self {
            size: 32 * MIB,
            core_modules: 64,
            components: 32,
            component_depth: 4,
            instances: 256,
            functions: 50_000,
            body: 1 << 20,
            locals: 20_000,
            memories: 3,
            tables: 16,
            table_elements: 30_000,
            initial_memory: 64 * MIB,
            assets: 256,
        }
    }
}

/// What a compilation may use. It happens in a process of its own that ends
/// with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// The fast compiler, whose time is linear in the size of the upload.
    pub winch: TierLimits,
    /// The optimising compiler, in the background. An upload that is too much
    /// for it stays on the fast compiler's code.
    pub cranelift: TierLimits,
    /// Bytes of compiled code.
    pub artefact: u64,
    /// Uploads waiting for the fast compiler; one is compiled at a time. Beyond:
    /// [`crate::AdmissionError::Busy`].
    pub waiting: u32,
}

/// Limits of one compiler process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierLimits {
    /// CPU time; the kernel ends the process.
    pub cpu: Duration,
    /// Wall time; the host ends the process.
    pub wall: Duration,
    /// Address space in bytes.
    pub memory: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            winch: TierLimits { cpu: Duration::from_secs(20), wall: Duration::from_secs(60), memory: 1_536 * MIB },
            cranelift: TierLimits { cpu: Duration::from_secs(60), wall: Duration::from_secs(180), memory: 1_536 * MIB },
            artefact: 256 * MIB,
            waiting: 16,
        }
    }
}
