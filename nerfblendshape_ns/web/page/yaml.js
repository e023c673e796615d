// The part of YAML in which keyframes are written: lists and mappings, by indentation or in brackets, and plain values.

import { PageError } from "./data.js";

/** @param {string} text @returns {any} @throws {PageError} it is not of this part */
export function readYaml(text) {
  const lines = [];
  text.split(/\r?\n/).forEach((line, index) => {
    const content = line.replace(/(^|\s)#.*$/, "").trimEnd();
    if (content.trim() && content !== "---") lines.push({ indent: content.search(/\S/), content: content.trim(), number: index + 1 });
  });
  const reader = new Reader(lines);
  const value = lines.length ? reader.block(lines[0].indent) : null;
  if (reader.at < lines.length) throw problem(lines[reader.at].number);
  return value;
}

/** @param {number} number of the line */
function problem(number) {
  return new PageError(`line ${number} is not understood; write keyframes as the documentation shows, or as JSON.`);
}

class Reader {
  /** @param {{indent: number, content: string, number: number}[]} lines */
  constructor(lines) {
    this.lines = lines;
    this.at = 0;
  }

  /** A list or mapping whose entries begin in a column. @param {number} indent @returns {any} */
  block(indent) {
    return /^-(\s|$)/.test(this.lines[this.at].content) ? this.list(indent) : this.mapping(indent);
  }

  /** @param {number} indent */
  list(indent) {
    const items = [];
    for (let line = this.lines[this.at]; line?.indent === indent && /^-(\s|$)/.test(line.content); line = this.lines[this.at]) {
      const rest = line.content.slice(1).trim();
      if (rest && !/^[[{"']/.test(rest) && /^[^:]+:(\s|$)/.test(rest)) {
        // A mapping that begins beside the dash.
        this.lines[this.at] = { ...line, indent: indent + line.content.indexOf(rest), content: rest };
        items.push(this.mapping(this.lines[this.at].indent));
      } else {
        this.at++;
        items.push(rest ? flow(rest, line.number) : this.nested(indent));
      }
    }
    return items;
  }

  /** @param {number} indent */
  mapping(indent) {
    /** @type {Object<string, any>} */
    const result = {};
    for (let line = this.lines[this.at]; line?.indent === indent; line = this.lines[this.at]) {
      const found = /^("[^"]*"|'[^']*'|[^:{[]+?)\s*:(?:\s+(.*))?$/.exec(line.content);
      if (!found) throw problem(line.number);
      this.at++;
      result[found[1].replace(/^["']|["']$/g, "")] = found[2] ? flow(found[2], line.number) : this.nested(indent);
    }
    return result;
  }

  /** What is indented further, or a list in the same column. @param {number} indent */
  nested(indent) {
    const next = this.lines[this.at];
    if (!next || next.indent < indent || (next.indent === indent && !next.content.startsWith("-"))) return null;
    return this.block(next.indent);
  }
}

/** A value in one line. @param {string} text @param {number} number of the line @returns {any} */
function flow(text, number) {
  const tokens = text.match(/"[^"]*"|'[^']*'|[{}[\],]|:(?=[\s,}\]]|$)|(?:[^\s{}[\],:"']|:(?![\s,}\]]|$))(?:[^{}[\],:]|:(?!\s))*/g) ?? [];
  let at = 0;
  const take = () => tokens[at++]?.trim();
  const value = () => {
    const token = take();
    if (token === undefined) throw problem(number);
    if (token !== "{" && token !== "[") return scalar(token);
    const close = token === "{" ? "}" : "]";
    const result = token === "{" ? {} : [];
    while (tokens[at] !== close) {
      if (token === "[") result.push(value());
      else {
        const name = String(scalar(take() ?? ""));
        if (take() !== ":") throw problem(number);
        result[name] = value();
      }
      if (tokens[at] === ",") at++;
      else if (tokens[at] !== close) throw problem(number);
    }
    at++;
    return result;
  };
  const result = value();
  if (at < tokens.length) throw problem(number);
  return result;
}

/** @param {string} token */
function scalar(token) {
  if (/^["']/.test(token)) return token.slice(1, -1);
  if (/^(~|null)$/i.test(token)) return null;
  if (token === "true" || token === "false") return token === "true";
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(token) ? Number(token) : token;
}
