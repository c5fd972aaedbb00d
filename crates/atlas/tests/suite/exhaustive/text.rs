//! A region map and its statute packs as plain texts and lists, for the second implementation of
//! the rules. Nothing is checked here: that is atlas's part, and the map has passed it.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// What a map says, as far as a ruling needs it.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) valid_until: Option<String>,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) collections: Vec<Collection>,
    /// The country of each region, by the region's name.
    pub(crate) regions: BTreeMap<String, String>,
    /// Who runs each region's site, and from where those are controlled, as far as that is stated.
    pub(crate) sites: BTreeMap<String, (Option<String>, Vec<String>)>,
    /// Home and whether it may lead, by the territory or `*`.
    pub(crate) homes: BTreeMap<String, (String, bool)>,
    /// By jurisdiction and id.
    pub(crate) laws: Vec<Law>,
    /// By id.
    pub(crate) clauses: Vec<Clause>,
}

#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) establishments: Vec<String>,
    pub(crate) sectors: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) name: String,
    /// Each as `pack/exemption`.
    pub(crate) exempt: Vec<String>,
    pub(crate) exclude: Exclude,
}

/// The sites with which data must not lie.
#[derive(Debug, Default)]
pub(crate) struct Exclude {
    pub(crate) regions: Vec<String>,
    pub(crate) operators: Vec<String>,
    pub(crate) controlled_from: Vec<String>,
}

/// A pack with the map's settings for it.
#[derive(Debug)]
pub(crate) struct Law {
    pub(crate) id: String,
    /// Whether it is another scope of the law of that name.
    pub(crate) further: bool,
    pub(crate) jurisdiction: String,
    pub(crate) trigger: String,
    /// By the reading that the map chooses.
    pub(crate) constraint: String,
    /// As the pack has it, whatever the reading.
    pub(crate) written: String,
    pub(crate) unknown: String,
    pub(crate) citizens_abroad: String,
    /// None: all.
    pub(crate) collections: Option<Vec<String>>,
    /// Empty: those of every tenant.
    pub(crate) sectors: Vec<String>,
    pub(crate) deny: Vec<String>,
    pub(crate) from: String,
    pub(crate) until: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Clause {
    pub(crate) id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// None: all.
    pub(crate) collections: Option<Vec<String>>,
    pub(crate) not_before: String,
    pub(crate) expires: String,
    pub(crate) exclude: Exclude,
}

fn table(text: &str) -> Table {
    text.parse().expect("TOML")
}

/// The tables under `[[key]]`.
fn tables<'a>(of: &'a Table, key: &str) -> Vec<&'a Table> {
    let list = of.get(key).and_then(Value::as_array);
    list.into_iter().flatten().map(|one| one.as_table().expect("a table")).collect()
}

/// A text; days come as `YYYY-MM-DD`, so that they order as texts do.
fn text(of: &Table, key: &str) -> Option<String> {
    let value = of.get(key)?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn needed(of: &Table, key: &str) -> String {
    text(of, key).expect("a key that is needed")
}

/// The texts of a list; none where there is no list, be it for want of the key.
fn texts(of: &Table, key: &str) -> Option<Vec<String>> {
    let list = of.get(key)?.as_array()?;
    Some(list.iter().map(|one| one.as_str().expect("a text").to_owned()).collect())
}

/// `collections`: none where the key is left out or says `*`, be it in a list.
fn collections(of: &Table) -> Option<Vec<String>> {
    texts(of, "collections").filter(|list| list != &["*"])
}

/// `exclude` of a collection or clause.
fn exclude(of: &Table) -> Exclude {
    let own = of.get("exclude").and_then(Value::as_table).cloned().unwrap_or_default();
    let list = |key| texts(&own, key).unwrap_or_default();
    Exclude {
        regions: list("regions"),
        operators: list("operators"),
        controlled_from: list("controlled_from"),
    }
}

/// Reads a map and the packs that it names among these files.
pub(crate) fn read(map: &str, packs: &[String]) -> Text {
    let root = table(map);
    let packs: Vec<Table> = packs.iter().map(|pack| table(pack)).collect();
    let mut read = Text { valid_until: text(&root, "valid_until"), ..Text::default() };
    for tenant in tables(&root, "tenants") {
        read.tenants.push(Tenant {
            name: needed(tenant, "name"),
            establishments: texts(tenant, "establishments").unwrap_or_default(),
            sectors: texts(tenant, "sectors").unwrap_or_default(),
        });
    }
    for collection in tables(&root, "collections") {
        let exempt = texts(collection, "exempt").unwrap_or_default();
        let (name, exclude) = (needed(collection, "name"), exclude(collection));
        read.collections.push(Collection { name, exempt, exclude });
    }
    for region in tables(&root, "regions") {
        read.regions.insert(needed(region, "name"), needed(region, "territory"));
        let site = region.get("site").and_then(Value::as_table).cloned().unwrap_or_default();
        let stated = (text(&site, "operator"), texts(&site, "controlled_from").unwrap_or_default());
        read.sites.insert(needed(region, "name"), stated);
    }
    for home in tables(&root, "homes") {
        let lead = home.get("lead").is_none_or(|lead| lead.as_bool() == Some(true));
        read.homes.insert(needed(home, "for"), (needed(home, "region"), lead));
    }
    for statute in tables(&root, "statutes") {
        let id = needed(statute, "id");
        let pack = packs.iter().find(|pack| needed(pack, "id") == id).expect("a pack of that id");
        read.laws.push(law(statute, pack));
        read.laws.extend(tables(pack, "scopes").into_iter().map(|own| scope(statute, pack, own)));
    }
    read.laws.sort_by_key(|law| (law.jurisdiction.clone(), law.id.clone()));
    for clause in tables(&root, "clauses") {
        read.clauses.push(Clause {
            id: needed(clause, "id"),
            from: needed(clause, "from"),
            to: needed(clause, "to"),
            collections: collections(clause),
            not_before: needed(clause, "not_before"),
            expires: needed(clause, "expires"),
            exclude: exclude(clause),
        });
    }
    read.clauses.sort_by_key(|clause| clause.id.clone());
    read
}

/// A further scope of a pack: a law of its own that has the same name.
fn scope(statute: &Table, pack: &Table, own: &Table) -> Law {
    let constraint = needed(own, "constraint");
    let later =
        |day: String| text(own, "from").map_or_else(|| day.clone(), |own| own.max(day.clone()));
    let whole = law(statute, pack);
    let ends = [text(own, "until"), whole.until.clone()].into_iter().flatten();
    Law {
        further: true,
        trigger: needed(own, "trigger"),
        written: constraint.clone(),
        constraint,
        sectors: texts(own, "sectors").unwrap_or_default(),
        from: later(whole.from.clone()),
        until: ends.min(),
        ..whole
    }
}

/// A pack under the map's settings, which go before its own.
fn law(statute: &Table, pack: &Table) -> Law {
    let setting = |key: &str| text(statute, key).or_else(|| text(pack, key));
    Law {
        id: needed(pack, "id"),
        further: false,
        jurisdiction: needed(pack, "jurisdiction"),
        trigger: needed(pack, "trigger"),
        written: needed(pack, "constraint"),
        constraint: text(statute, "reading").unwrap_or_else(|| needed(pack, "constraint")),
        unknown: setting("unknown").unwrap_or_else(|| "any-hint".to_owned()),
        citizens_abroad: setting("citizens_abroad").unwrap_or_default(),
        collections: collections(statute),
        sectors: texts(pack, "sectors").unwrap_or_default(),
        deny: texts(pack, "deny").unwrap_or_default(),
        from: needed(pack, "from"),
        until: text(pack, "until"),
    }
}
