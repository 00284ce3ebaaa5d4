//! Which modules import which, as their code says, and the circles in that.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
};

use super::{code_of, files};

#[test]
fn no_children_of_a_folder_import_each_other_in_a_circle() {
    let imports = imports_by_folder(&code_by_module());
    assert!(
        imports.len() >= 20,
        "the scan found only {:?}",
        imports.keys()
    );

    let circles: Vec<String> = imports
        .iter()
        .filter_map(|(folder, imports)| {
            Some(format!(
                "in src/{}:\n{}",
                folder.join("/"),
                shortest_circle(imports)?
            ))
        })
        .collect();

    assert!(
        circles.is_empty(),
        "circles of imports {}",
        circles.join("and ")
    );
}

#[test]
fn a_circle_is_found_however_it_is_spelled() {
    let circle_with = |child: &str, code: &str| {
        let others = [
            ("a", ""),
            ("b", "use super::a;"),
            ("c", "use crate::b;"),
            ("a::b", ""),
        ];

        let all = others.into_iter().chain([(child, code)]);
        let modules = all
            .map(|(module, code)| (path(module), code.to_owned()))
            .collect();

        imports_by_folder(&modules)
            .get(&Module::new())
            .and_then(shortest_circle)
    };

    for code in [
        "use crate::b;",
        "use super::b::Thing;",
        "pub use super::{c as other, b::*};",
        "use crate::{\n    c::{self, Thing},\n    b::{self, deep::Thing},\n};",
        "use {std::fs, super::b::{Thing}};",
        "fn f() -> u8 { match super::b::CONSTANT { _ => 1 } }",
        "fn f() { self::super::b::g::<u8>() }",
    ] {
        let circle = circle_with("a", code).expect(code);
        assert!(
            circle.contains("a imports b (a names b") && circle.contains("b imports a"),
            "{code}: {circle}"
        );
    }

    // The files of a folder are one child of the folder around it.
    let circle = circle_with("a::inner", "use super::super::c;").expect("through c");
    assert_eq!(circle.lines().count(), 3, "{circle}");

    for (child, code) in [
        (
            "a",
            "use std::b; use crate::a::b; use super::a; pub(in crate::b_side) struct Thing;",
        ),
        ("a::inner", "use super::b; use crate::a::{self, b};"),
        ("d", "use super::{a, b, c};"),
    ] {
        assert_eq!(circle_with(child, code), None, "{code}");
    }
}

/// The path of a module: its names from the root of the crate on.
type Module = Vec<String>;

/// Which child of a folder imports which, and an example of each.
type Imports = BTreeMap<(String, String), String>;

fn path(module: &str) -> Module {
    module.split("::").map(str::to_owned).collect()
}

/// The code of each module that is no unit test, without comments. The root of the crate is none.
fn code_by_module() -> BTreeMap<Module, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();

    for file in files(&source) {
        let inside = file
            .strip_prefix(&source)
            .expect("below src")
            .with_extension("");

        let mut module: Module = inside
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();

        let is_root = module == ["lib"] || module == ["main"];
        let is_code = file.extension().is_some_and(|extension| extension == "rs");
        if is_root || !is_code || module.iter().any(|name| name == "tests") {
            continue;
        }

        module.pop_if(|name| name == "mod");
        modules.insert(module, code_of(&file));
    }

    modules
}

/// The imports between the children of each folder. A child is a file or a folder with all that is in it; what the
/// `mod.rs` of a folder imports is not among those between its children.
fn imports_by_folder(modules: &BTreeMap<Module, String>) -> BTreeMap<Module, Imports> {
    let mut folders: BTreeMap<Module, Imports> = BTreeMap::new();
    for (here, code) in modules {
        for path in paths(&tokens(code)) {
            let named = from_root(&path, here);
            let there = module_of(&named, modules);
            let depth = here
                .iter()
                .zip(there)
                .take_while(|(one, other)| one == other)
                .count();

            let (Some(child), Some(other)) = (here.get(depth), there.get(depth)) else {
                continue;
            };

            let example = format!("{} names {}", here.join("::"), named.join("::"));
            let folder = here.iter().take(depth).cloned().collect();
            folders
                .entry(folder)
                .or_default()
                .entry((child.clone(), other.clone()))
                .or_insert(example);
        }
    }

    folders
}

/// The module that a path leads to or into.
fn module_of<'a>(path: &'a [String], modules: &BTreeMap<Module, String>) -> &'a [String] {
    let mut module = path;
    while let Some((_, above)) = module.split_last()
        && !modules.contains_key(module)
    {
        module = above;
    }
    module
}

/// The names from the root of the crate on, for a path that stands in the module `here`.
fn from_root(path: &[&str], here: &[String]) -> Module {
    let mut names = here.to_vec();
    for name in path {
        match *name {
            "crate" => names.clear(),
            "super" => drop(names.pop()),
            "self" => {}
            name => names.push(name.to_owned()),
        }
    }

    names
}

/// Every path in a code that begins with `crate`, `super` or `self`; of a `use` list, one for each entry.
fn paths<'a>(tokens: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut paths = Vec::new();
    let mut rest = tokens;
    let mut before = "";

    while let [token, after @ ..] = rest {
        let is_path = matches!(*token, "crate" | "super" | "self") && after.first() == Some(&"::");
        if is_path && before != "::" {
            read_tree(rest, &[], &mut paths);
        }

        (before, rest) = (token, after);
    }

    paths
}

/// Reads the path, or all paths of the `use` tree, with which the tokens begin. Returns the tokens after it.
fn read_tree<'a, 't>(
    mut tokens: &'t [&'a str],
    prefix: &[&'a str],
    paths: &mut Vec<Vec<&'a str>>,
) -> &'t [&'a str] {
    let mut path = prefix.to_vec();

    while let [name, "::", rest @ ..] = tokens {
        path.push(name);
        tokens = rest;
        if let ["{", list @ ..] = tokens {
            return read_list(list, &path, paths);
        }
    }

    if let [last, rest @ ..] = tokens {
        // Neither the `*` of a glob nor the `<` of type arguments names anything.
        path.extend(Some(last).filter(|last| last.starts_with(is_in_name)));
        tokens = rest;
    }

    paths.push(path);

    tokens
}

/// Reads the entries of a `use` list after its `{`. Returns the tokens after its `}`.
fn read_list<'a, 't>(
    mut tokens: &'t [&'a str],
    prefix: &[&'a str],
    paths: &mut Vec<Vec<&'a str>>,
) -> &'t [&'a str] {
    loop {
        tokens = match tokens {
            [] => return tokens,
            ["}", rest @ ..] => return rest,
            [",", rest @ ..] | ["as", _, rest @ ..] => rest,
            entry => read_tree(entry, prefix, paths),
        };
    }
}

/// The names and signs in a code; `::` is one sign.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();

    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if is_in_name(first) => rest
                .find(|letter| !is_in_name(letter))
                .unwrap_or(rest.len()),
            _ if rest.starts_with("::") => "::".len(),
            _ => first.len_utf8(),
        };

        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }

    tokens
}

fn is_in_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The shortest way from a child along the imports back to it, an import a line.
fn shortest_circle(imports: &Imports) -> Option<String> {
    let children: BTreeSet<&str> = imports.keys().map(|(child, _)| child.as_str()).collect();
    let circles = children
        .into_iter()
        .filter_map(|child| way_back(child, imports));
    let circle = circles.min_by_key(Vec::len)?;

    let next = circle.iter().cycle().skip(1);

    let line = |(child, other): (&&str, &&str)| {
        let example = imports
            .get(&((*child).to_owned(), (*other).to_owned()))
            .map_or("", String::as_str);
        format!("  {child} imports {other} ({example})\n")
    };

    Some(circle.iter().zip(next).map(line).collect())
}

/// The children on the shortest way from one of them back to it, which begins with it.
fn way_back<'a>(start: &'a str, imports: &'a Imports) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([vec![start]]);

    while let Some(way) = ways.pop_front() {
        let last = way.last().copied();
        for (_, other) in imports
            .keys()
            .filter(|(child, _)| Some(child.as_str()) == last)
        {
            if other == start {
                return Some(way);
            }
            if seen.insert(other) {
                ways.push_back(way.iter().copied().chain([other.as_str()]).collect());
            }
        }
    }

    None
}
