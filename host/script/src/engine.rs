//! The engines: one configuration for those that compile and those that run,
//! the epoch's ticker, and how many instances this machine carries.
//!
//! A process has one engine for each tier, because the two compilers use
//! different calling conventions and wasmtime loads an artefact only into an
//! engine of the same. Tenants share them: what keeps calls apart are stores and
//! their limits.

use crate::config::MEMORY_CEILING;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::time::Duration;
use wasmparser::WasmFeatures;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
};

/// How often a computing script gives way to others, and its budget is checked.
pub const TICK: Duration = Duration::from_millis(10);

/// Memories of one component: QuickJS needs three.
const MEMORIES: u32 = 3;
/// Core instances of one component: CPython needs 38 modules.
const CORE_INSTANCES: u32 = 80;
/// Tables of one component.
const TABLES: u32 = 16;
/// Elements of one table: CPython fits.
const TABLE_ELEMENTS: usize = 30_000;

/// Which compiler made an artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The fast compiler: linear time, plain code. First calls and the author's
    /// desk.
    Winch,
    /// The optimising compiler, behind it.
    Cranelift,
}

impl Tier {
    /// `winch` or `cranelift`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Winch => "winch",
            Self::Cranelift => "cranelift",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an engine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It compiles, in the compiler process, and never runs a guest.
    Compile,
    /// It runs so many scripts at a time.
    Run {
        /// Instances of the pool.
        instances: u32,
    },
}

/// The one configuration. Everything that shapes code is the same in both roles,
/// so that what one compiles the other loads; only the allocator differs.
#[must_use]
pub fn engine_config(tier: Tier, role: Role) -> Config {
    let mut config = Config::new();
    config
        .strategy(match tier {
            Tier::Winch => Strategy::Winch,
            Tier::Cranelift => Strategy::Cranelift,
        })
        .cranelift_opt_level(OptLevel::Speed)
        // The same bits on every machine, so that a tape replays.
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        // Names and lines in the report of a trap.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(32))
        .native_unwind_info(false)
        // Explicit bounds checks, which are masked against speculation, and page
        // tables that stay small.
        .memory_reservation(MEMORY_CEILING)
        .memory_guard_size(64 << 10)
        .memory_may_move(false)
        .memory_init_cow(true)
        // Host functions only hand a message over and wait, so stacks are short.
        .max_wasm_stack(256 << 10)
        .async_stack_size(512 << 10)
        .async_stack_zeroing(true);
    config.wasm_features(OFF, false);
    if let Role::Run { instances } = role {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
    }
    config
}

/// Proposals on which the two compilers would differ, or which no guest
/// toolchain of ours needs.
const OFF: WasmFeatures = WasmFeatures::TAIL_CALL
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::CM_ASYNC);

/// What a component may use of WebAssembly: exactly what the engines are set to
/// (a test compares them).
#[must_use]
pub const fn features() -> WasmFeatures {
    WasmFeatures::WASM3.union(WasmFeatures::COMPONENT_MODEL).difference(OFF)
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .max_component_instance_size(1 << 20)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_core_instance_size(1 << 20)
        .total_memories(instances.saturating_mul(MEMORIES))
        .max_memories_per_component(MEMORIES)
        .max_memories_per_module(MEMORIES)
        .max_memory_size(usize::try_from(MEMORY_CEILING).unwrap_or(usize::MAX))
        .total_tables(instances.saturating_mul(TABLES))
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .total_stacks(instances.saturating_add(16))
        .max_unused_warm_slots(64)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(16 << 10);
    pool
}

/// The engines of a host.
#[derive(Clone)]
pub(crate) struct Engines {
    winch: Engine,
    cranelift: Engine,
}

impl Engines {
    /// Makes both, with room for so many instances each, and starts the ticker.
    /// It ends with the last clone of the engines.
    pub(crate) fn start(instances: u32) -> Result<Self, wasmtime::Error> {
        let make = |tier| Engine::new(&engine_config(tier, Role::Run { instances }));
        let engines = Self { winch: make(Tier::Winch)?, cranelift: make(Tier::Cranelift)? };
        let weak = [engines.winch.weak(), engines.cranelift.weak()];
        std::thread::Builder::new()
            .name("script-epoch".into())
            .spawn(move || {
                loop {
                    std::thread::sleep(TICK);
                    let mut alive = false;
                    for engine in weak.iter().filter_map(wasmtime::EngineWeak::upgrade) {
                        engine.increment_epoch();
                        alive = true;
                    }
                    if !alive {
                        return;
                    }
                }
            })
            .map_err(wasmtime::Error::new)?;
        Ok(engines)
    }

    pub(crate) fn get(&self, tier: Tier) -> &Engine {
        match tier {
            Tier::Winch => &self.winch,
            Tier::Cranelift => &self.cranelift,
        }
    }
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engines")
    }
}

/// What makes artefacts of this engine differ from those of others: wasmtime's
/// version, the target, the settings. SHA-256, so that it is the same in every
/// process of the same build.
pub(crate) fn compatibility(engine: &Engine) -> [u8; 32] {
    use sha2::Digest as _;
    struct Sha(sha2::Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sha = Sha(sha2::Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sha);
    sha.0.finalize().into()
}

/// How many instances the kernel lets us map: each takes five to six mappings,
/// and the rest of the process needs some too.
pub(crate) fn carried_by_kernel(max_map_count: u64) -> u32 {
    u32::try_from(max_map_count / 8).unwrap_or(u32::MAX).max(1)
}

/// `vm.max_map_count`; the kernel's default where it cannot be read.
pub(crate) fn max_map_count() -> u64 {
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(65_530)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn both_tiers_and_roles_accept_the_same_wasm() {
        let all = [
            engine_config(Tier::Winch, Role::Compile),
            engine_config(Tier::Winch, Role::Run { instances: 4 }),
            engine_config(Tier::Cranelift, Role::Compile),
            engine_config(Tier::Cranelift, Role::Run { instances: 4 }),
        ];
        for config in &all {
            assert_eq!(Engine::new(config).unwrap().get_wasm_features(), features());
        }
        let off = WasmFeatures::THREADS | WasmFeatures::CM_ASYNC | WasmFeatures::MEMORY64 | WasmFeatures::TAIL_CALL;
        assert!(!features().intersects(off));
        assert!(features().contains(WasmFeatures::COMPONENT_MODEL | WasmFeatures::SIMD));
    }

    #[test]
    fn compile_and_run_engines_are_compatible_and_tiers_are_not() {
        for tier in [Tier::Winch, Tier::Cranelift] {
            let compile = Engine::new(&engine_config(tier, Role::Compile)).unwrap();
            let small = Engine::new(&engine_config(tier, Role::Run { instances: 2 })).unwrap();
            let large = Engine::new(&engine_config(tier, Role::Run { instances: 50 })).unwrap();
            assert_eq!(compatibility(&compile), compatibility(&small));
            assert_eq!(compatibility(&compile), compatibility(&large));
        }
        let winch = Engine::new(&engine_config(Tier::Winch, Role::Compile)).unwrap();
        let cranelift = Engine::new(&engine_config(Tier::Cranelift, Role::Compile)).unwrap();
        assert_ne!(compatibility(&winch), compatibility(&cranelift));
    }

    #[test]
    fn the_kernel_caps_the_pool() {
        assert_eq!(carried_by_kernel(65_530), 8_191);
        assert_eq!(carried_by_kernel(3), 1);
    }
}
