//! Counting what an upload is made of, in one pass and before anything expensive
//! looks at it.

use crate::admission::{AdmissionError, invalid};
use crate::config::ShapeLimits;
use crate::text::printable;
use wasmparser::{Encoding, KnownCustom, Name, Parser, Payload, TypeRef};

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Of the outermost component.
    pub(crate) imports: Vec<String>,
    /// Of the outermost component.
    pub(crate) exports: Vec<String>,
    pub(crate) core_modules: u32,
    pub(crate) functions: u32,
    /// Bytes, all memories together.
    pub(crate) initial_memory: u64,
    /// Name and bytes of the largest function.
    pub(crate) largest: Option<(String, u32)>,
    pub(crate) has_names: bool,
    /// Tools that had a hand in it, in their own words.
    pub(crate) tools: Vec<String>,
    components: u32,
    instances: u32,
    memories: u32,
    tables: u32,
}

/// One component or module around the present place.
struct Level {
    encoding: Encoding,
    imported_functions: u32,
    bodies: u32,
    /// Index and bytes.
    largest: Option<(u32, u32)>,
}

impl Level {
    const fn new(encoding: Encoding) -> Self {
        Self { encoding, imported_functions: 0, bodies: 0, largest: None }
    }
}

/// Tools that are kept of the producers sections.
const TOOLS: usize = 8;
/// Bytes of one tool's name and version.
const TOOL: usize = 80;

/// Walks through the upload once; stops at the first limit.
pub(crate) fn count(wasm: &[u8], limits: &ShapeLimits) -> Result<Counted, AdmissionError> {
    let mut counted = Counted::default();
    let mut levels: Vec<Level> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        match payload {
            Payload::Version { encoding, .. } => enter(&mut counted, &mut levels, encoding, limits)?,
            Payload::End(_) => {
                let Some(level) = levels.pop() else { continue };
                if let Some((index, bytes)) = level.largest {
                    larger(&mut counted.largest, || format!("function {index}"), bytes);
                }
            }
            Payload::ComponentImportSection(reader) if levels.len() == 1 => {
                for import in reader {
                    counted.imports.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(reader) if levels.len() == 1 => {
                for export in reader {
                    counted.exports.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::InstanceSection(reader) => {
                add("instances", &mut counted.instances, reader.count(), limits.instances)?;
            }
            Payload::ComponentInstanceSection(reader) => {
                add("instances", &mut counted.instances, reader.count(), limits.instances)?;
            }
            Payload::ImportSection(reader) => {
                let mut functions = 0u32;
                for import in reader.into_imports() {
                    match import.map_err(invalid)?.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => functions = functions.saturating_add(1),
                        _ => {}
                    }
                }
                if let Some(level) = levels.last_mut() {
                    level.imported_functions = functions;
                }
            }
            Payload::MemorySection(reader) => {
                add("memories", &mut counted.memories, reader.count(), limits.memories)?;
                for memory in reader {
                    let bytes = memory.map_err(invalid)?.initial.saturating_mul(64 << 10);
                    counted.initial_memory = counted.initial_memory.saturating_add(bytes);
                    within("bytes of initial memory", counted.initial_memory, limits.initial_memory)?;
                }
            }
            Payload::TableSection(reader) => {
                add("tables", &mut counted.tables, reader.count(), limits.tables)?;
                for table in reader {
                    let elements = table.map_err(invalid)?.ty.initial;
                    within("elements of a table", elements, u64::from(limits.table_elements))?;
                }
            }
            Payload::CodeSectionStart { count, .. } => {
                add("functions", &mut counted.functions, count, limits.functions)?;
            }
            Payload::CodeSectionEntry(body) => function(&mut levels, &body, limits)?,
            Payload::CustomSection(section) => custom(&mut counted, &mut levels, &section)?,
            _ => {}
        }
    }
    Ok(counted)
}

fn enter(
    counted: &mut Counted,
    levels: &mut Vec<Level>,
    encoding: Encoding,
    limits: &ShapeLimits,
) -> Result<(), AdmissionError> {
    match encoding {
        Encoding::Module => add("core modules", &mut counted.core_modules, 1, limits.core_modules)?,
        Encoding::Component if levels.is_empty() => {}
        Encoding::Component => {
            add("nested components", &mut counted.components, 1, limits.components)?;
            within("components inside one another", levels.len() as u64, u64::from(limits.component_depth))?;
        }
    }
    levels.push(Level::new(encoding));
    Ok(())
}

fn function(
    levels: &mut [Level],
    body: &wasmparser::FunctionBody<'_>,
    limits: &ShapeLimits,
) -> Result<(), AdmissionError> {
    let Some(level) = levels.last_mut() else { return Ok(()) };
    let index = level.imported_functions.saturating_add(level.bodies);
    level.bodies = level.bodies.saturating_add(1);
    let bytes = u32::try_from(body.range().len()).unwrap_or(u32::MAX);
    within(&format!("bytes of function {index}"), u64::from(bytes), u64::from(limits.body))?;
    let mut locals = 0u64;
    for local in body.get_locals_reader().map_err(invalid)? {
        locals = locals.saturating_add(u64::from(local.map_err(invalid)?.0));
        within(&format!("locals of function {index}"), locals, u64::from(limits.locals))?;
    }
    if level.largest.is_none_or(|(_, most)| bytes > most) {
        level.largest = Some((index, bytes));
    }
    Ok(())
}

/// Names of functions, and what built the component. Wrong contents of either
/// are no reason to refuse an upload: they are only shown.
fn custom(
    counted: &mut Counted,
    levels: &mut [Level],
    section: &wasmparser::CustomSectionReader<'_>,
) -> Result<(), AdmissionError> {
    match section.as_known() {
        KnownCustom::Name(names) => {
            let Some(level) = levels.last_mut().filter(|level| level.encoding == Encoding::Module) else {
                return Ok(());
            };
            for names in names.into_iter().flatten() {
                let Name::Function(functions) = names else { continue };
                counted.has_names |= functions.count() > 0;
                let Some((largest, bytes)) = level.largest else { continue };
                let naming = functions.into_iter().flatten().find(|naming| naming.index == largest);
                if let Some(naming) = naming {
                    level.largest = None;
                    larger(&mut counted.largest, || crate::report::readable(naming.name), bytes);
                }
            }
        }
        KnownCustom::Producers(fields) => {
            for field in fields.into_iter().flatten() {
                if !matches!(field.name, "language" | "processed-by") {
                    continue;
                }
                for value in field.values.into_iter().flatten() {
                    let tool = printable(format!("{} {}", value.name, value.version).trim(), TOOL);
                    if counted.tools.len() < TOOLS && !counted.tools.contains(&tool) {
                        counted.tools.push(tool);
                    }
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn larger(largest: &mut Option<(String, u32)>, name: impl FnOnce() -> String, bytes: u32) {
    if largest.as_ref().is_none_or(|(_, most)| bytes > *most) {
        *largest = Some((name(), bytes));
    }
}

fn add(what: &str, total: &mut u32, more: u32, limit: u32) -> Result<(), AdmissionError> {
    *total = total.saturating_add(more);
    within(what, u64::from(*total), u64::from(limit))
}

fn within(what: &str, found: u64, limit: u64) -> Result<(), AdmissionError> {
    if found > limit {
        return Err(AdmissionError::Shape { what: what.to_owned(), found, limit });
    }
    Ok(())
}
