//! A configuration as it lies on disk: the main file, and files of directives in `directives.d`
//! beside it. The main file is all or nothing; each file of directives stands alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::directive_file::{self, Declared, Placed, looks_like_directives};
use super::main_file;
use super::pipeline::dns_subdomain;
use super::problem::{Place, Problem};
use super::raw::{self, Node};
use super::read::Reader;
use super::{Config, Directive};
use crate::task::Source;

/// A configuration that can be run.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Which file each directive stands in, by its name.
    pub origins: BTreeMap<String, PathBuf>,
    /// The files of `directives.d` that are wrong. Their directives failed, but for those that
    /// `keep_last_good` brings back.
    pub refused: Vec<Refused>,
    pub warnings: Vec<Problem>,
    /// Whether the main file says nothing at all, which stands for the defaults.
    pub is_empty: bool,
}

/// A file of `directives.d` that is wrong.
#[derive(Clone, PartialEq, Debug)]
pub struct Refused {
    pub file: PathBuf,
    /// The names that could still be read in it; none where it is no YAML at all.
    pub names: Vec<String>,
    pub problems: Vec<Problem>,
}

impl From<Config> for Loaded {
    /// With directives of no file.
    fn from(config: Config) -> Loaded {
        Loaded { config, origins: BTreeMap::new(), refused: Vec::new(), warnings: Vec::new(), is_empty: false }
    }
}

impl Loaded {
    /// Brings back, from the configuration that ran before, the directives of files that are wrong now.
    pub fn keep_last_good(&mut self, before: &Loaded) {
        for refused in &self.refused {
            for directive in &before.config.directives {
                // It may be the whole directory that cannot be read.
                let origin = before.origins.get(&directive.name);
                let was_there = origin.filter(|file| **file == refused.file || file.parent() == Some(&refused.file));
                let is_free = !self.origins.contains_key(&directive.name);
                if let Some(file) = was_there.filter(|_| is_free && room(&self.config.directives, directive)) {
                    self.origins.insert(directive.name.clone(), file.clone());
                    self.config.directives.push(directive.clone());
                }
            }
        }
    }
}

/// Reads a configuration. `tawon_id` is the agent's id where the file names none. The errors are those of
/// the main file, in order; those of `directives.d` are in `refused`.
pub fn load(path: &Path, tawon_id: &str) -> Result<Loaded, Vec<Problem>> {
    let mut loaded = main(path, tawon_id)?;
    directives_d(&beside(path), &mut loaded);
    loaded.warnings.sort();
    Ok(loaded)
}

/// Reads a configuration without its `directives.d`, and leaves its directives out.
pub fn load_settings(path: &Path, tawon_id: &str) -> Result<Loaded, Vec<Problem>> {
    let mut loaded = main(path, tawon_id)?;
    loaded.config.directives.clear();
    loaded.origins.clear();
    Ok(loaded)
}

/// Reads a file of directives that is none of a configuration: `run -f`.
pub fn load_directives(path: &Path) -> Result<(Vec<Directive>, Vec<Problem>), Vec<Problem>> {
    let mut reader = Reader::new(path.to_string_lossy().into());
    let documents = raw::read(path, &mut reader.problems).unwrap_or_default();
    let placed = placed(&mut reader, &documents);
    check_against(&mut reader, &declared(&documents), &placed, &[]);
    finish(reader).map(|warnings| (placed.into_iter().map(|placed| placed.directive).collect(), warnings))
}

/// What is wrong with a file, be it a configuration (with its `directives.d`) or a file of directives.
pub struct Findings {
    pub errors: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// Validates a file of either kind.
pub fn check(path: &Path) -> Findings {
    let mut problems = Vec::new();
    let documents = raw::read(path, &mut problems);
    let directives = documents.is_some_and(|documents| documents.iter().any(|node| looks_like_directives(node)));
    let result = if directives {
        load_directives(path).map(|(_, warnings)| (Vec::new(), warnings))
    } else {
        let (mut loaded, mut errors) = match main(path, "check") {
            Ok(loaded) => (loaded, Vec::new()),
            Err(errors) => (Loaded::from(main_file::defaults("check")), errors),
        };
        directives_d(&beside(path), &mut loaded);
        errors.extend(loaded.refused.into_iter().flat_map(|refused| refused.problems));
        Ok((errors, loaded.warnings))
    };
    let (mut errors, mut warnings) = result.unwrap_or_else(|errors| (errors, Vec::new()));
    errors.sort();
    warnings.sort();
    Findings { errors, warnings }
}

/// The id of an agent whose configuration names none: NODE_NAME, else the host name.
pub fn default_tawon_id() -> String {
    let node = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    node.unwrap_or_else(hostname)
}

/// The host's name, or `tawon` where it has none.
pub fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim()).filter(|name| !name.is_empty()).unwrap_or("tawon").to_owned()
}

fn main(path: &Path, tawon_id: &str) -> Result<Loaded, Vec<Problem>> {
    let mut reader = Reader::new(path.to_string_lossy().into());
    let Some(documents) = raw::read(path, &mut reader.problems) else { return Err(reader.problems) };
    if let Some(second) = documents.get(1) {
        reader.problem(second.at, "a configuration is one document; further directives go to directives.d");
    }
    let (config, positions) = match documents.first() {
        Some(node) => main_file::config(&mut reader, node, tawon_id),
        None => (main_file::defaults(tawon_id), Vec::new()),
    };
    let placed: Vec<Placed> = config.directives.iter().cloned().zip(positions).map(Placed::from).collect();
    let list = documents.first().and_then(|node| node.find("directives"));
    check_against(&mut reader, &declared(list.map(std::slice::from_ref).unwrap_or_default()), &placed, &[]);
    let origins = config.directives.iter().map(|directive| (directive.name.clone(), path.to_owned())).collect();
    let is_empty = documents.is_empty();
    finish(reader).map(|warnings| Loaded { origins, warnings, is_empty, ..Loaded::from(config) })
}

/// Where the files of directives of a configuration lie.
fn beside(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join("directives.d")
}

fn directives_d(directory: &Path, loaded: &mut Loaded) {
    let files = match listing(directory) {
        Ok(files) => files,
        Err(message) => {
            let place = Place { file: directory.to_string_lossy().into(), position: None };
            let problems = vec![Problem::new(place, message)];
            loaded.refused.push(Refused { file: directory.to_owned(), names: Vec::new(), problems });
            return;
        }
    };
    for file in files {
        let mut reader = Reader::new(file.to_string_lossy().into());
        let documents = raw::read(&file, &mut reader.problems).unwrap_or_default();
        let placed = placed(&mut reader, &documents);
        let declared = declared(&documents);
        check_against(&mut reader, &declared, &placed, &loaded.config.directives);
        match finish(reader) {
            Ok(warnings) => {
                loaded.warnings.extend(warnings);
                for Placed { directive, .. } in placed {
                    loaded.origins.insert(directive.name.clone(), file.clone());
                    loaded.config.directives.push(directive);
                }
            }
            Err(problems) => {
                let names = declared.into_iter().map(|declared| declared.name).collect();
                loaded.refused.push(Refused { file, names, problems });
            }
        }
    }
}

/// The directory's files of directives by name; none where there is no directory. Names that begin with a
/// dot are left out: a ConfigMap's volume has some.
fn listing(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| format!("cannot be read: {error}"))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(format!("holds more than {MOST_FILES} files"));
        }
    }
    files.sort();
    Ok(files)
}

fn placed(reader: &mut Reader, documents: &[Rc<Node>]) -> Vec<Placed> {
    let mut placed = Vec::new();
    documents.iter().for_each(|node| directive_file::document(reader, node, &mut placed));
    placed
}

fn declared(documents: &[Rc<Node>]) -> Vec<Declared> {
    let mut declared = Vec::new();
    documents.iter().for_each(|node| directive_file::declared(node, &mut declared));
    declared
}

/// Names are unique, and a source has a bit in its mask for each directive.
fn check_against(reader: &mut Reader, declared: &[Declared], placed: &[Placed], before: &[Directive]) {
    let mut names: HashSet<&str> = before.iter().map(|directive| directive.name.as_str()).collect();
    let mut sources: HashMap<Source, usize> = HashMap::new();
    for source in before.iter().filter(|directive| directive.enabled).filter_map(Directive::source) {
        *sources.entry(source).or_default() += 1;
    }
    // A name that is none has its own error.
    let named = |declared: &&Declared| declared.name.split('/').all(|part| dns_subdomain(part).is_ok());
    for Declared { name, at } in declared.iter().filter(named) {
        if !names.insert(name) {
            reader.problem(*at, format!("another directive is named {name:?} too"));
        }
    }
    for Placed { directive, at } in placed {
        let Some(source) = directive.source().filter(|_| directive.enabled) else { continue };
        let count = sources.entry(source).or_default();
        *count += 1;
        if *count > PER_SOURCE {
            let name = directive.tasks.first().map_or("", |task| task.spec.name);
            reader.problem(*at, format!("more than {PER_SOURCE} directives with the source {name}"));
        }
    }
}

fn room(directives: &[Directive], for_one: &Directive) -> bool {
    let source = for_one.source();
    directives.iter().filter(|directive| directive.enabled && directive.source() == source).count() < PER_SOURCE
}

fn finish(mut reader: Reader) -> Result<Vec<Problem>, Vec<Problem>> {
    reader.problems.sort();
    if reader.problems.is_empty() { Ok(reader.warnings) } else { Err(reader.problems) }
}

impl From<(Directive, super::problem::Position)> for Placed {
    fn from((directive, at): (Directive, super::problem::Position)) -> Placed {
        Placed { directive, at }
    }
}

/// One bit each in the mask of a watched process.
pub const PER_SOURCE: usize = 64;
const MOST_FILES: usize = 1024;
