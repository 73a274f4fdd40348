// Reads a graph of the editor: where an input's value or model really comes from. Nothing here changes the graph.

const SUBGRAPH_INPUT = -10;
const MUTED = 2;
const BYPASSED = 4;
const DEPTH = 64;

/**
 * As much of the editor's graph as is read here.
 * @typedef {{name: string, value: any}} Widget
 * @typedef {{name: string, type?: any, link?: number | null, widget?: {name: string}}} Input
 * @typedef {{name: string, type?: any, links?: number[] | null, linkIds?: number[]}} Output
 * @typedef {{id: number, origin_id: any, origin_slot: number, target_id: any, target_slot: number}} Link
 * @typedef {{id: any, type: string, title?: string, mode?: number, inputs?: Input[], outputs?: Output[], widgets?: Widget[],
 *   graph?: Graph | null, subgraph?: Graph | null, imgs?: any[], getInputLink?: (slot: number) => Link | null,
 *   getOutputNodes?: (slot: number) => GraphNode[] | null}} GraphNode
 * @typedef {{_nodes?: GraphNode[], nodes?: GraphNode[], links: any, outputs?: Output[], inputs?: Output[],
 *   rootGraph?: Graph, getNodeById?: (id: any) => GraphNode | null}} Graph
 * @typedef {{node: GraphNode, slot: number} | {widget: Widget}} Source
 */

/**
 * The link of this id.
 * @param {Graph | null | undefined} graph
 * @param {number | null | undefined} id
 * @returns {Link | undefined}
 */
export function linkOf(graph, id) {
  if (!graph || id == null) return undefined;
  return graph.links instanceof Map ? graph.links.get(id) : graph.links?.[id];
}

/**
 * The link of a node's input. Newer editors warn about reading `link` itself.
 * @param {GraphNode} node
 * @param {number} index
 */
const inputLink = (node, index) =>
  node.getInputLink && !node.subgraph // a subgraph's node means its inside by that method
    ? (node.getInputLink(index) ?? undefined)
    : linkOf(node.graph, node.inputs?.[index]?.link);

/**
 * The nodes that an output feeds.
 * @param {GraphNode} node
 * @param {number} index
 * @returns {GraphNode[]}
 */
function targetsOf(node, index) {
  if (node.getOutputNodes) return node.getOutputNodes(index) ?? [];
  const links = (node.outputs?.[index]?.links ?? []).map((id) => linkOf(node.graph, id));
  return links.flatMap((link) => (link && node.graph && nodeById(node.graph, link.target_id)) || []);
}

/** @param {Graph} graph @returns {GraphNode[]} */
const nodesOf = (graph) => graph._nodes ?? graph.nodes ?? [];

/**
 * Whether a node of this graph, or of a subgraph in it, is such a one.
 * @param {Graph} graph
 * @param {(node: GraphNode) => boolean} is
 * @returns {boolean}
 */
export const someNode = (graph, is) =>
  nodesOf(graph).some((node) => is(node) || (node.subgraph ? someNode(node.subgraph, is) : false));

/** @param {Graph} graph @param {any} id */
const nodeById = (graph, id) =>
  graph.getNodeById ? (graph.getNodeById(id) ?? undefined) : nodesOf(graph).find((node) => String(node.id) === String(id));

/**
 * Whether the node is in its graph. A graph that undo or another workflow fills anew leaves its former nodes with their `graph`.
 * @param {GraphNode} node
 */
export const inGraph = (node) => Boolean(node.graph && nodeById(node.graph, node.id) === node);

/**
 * The node that shows this subgraph, anywhere below the root graph.
 * @param {Graph} root
 * @param {Graph} inner
 * @returns {GraphNode | undefined}
 */
export function containerOf(root, inner) {
  for (const node of nodesOf(root)) {
    if (!node.subgraph) continue;
    if (node.subgraph === inner) return node;
    const found = containerOf(node.subgraph, inner);
    if (found) return found;
  }
  return undefined;
}

/**
 * What feeds an input: another node's output, or a widget of the subgraph's node; undefined when nothing does.
 * Walks through reroutes, bypassed nodes and the borders of subgraphs.
 * @param {GraphNode} node
 * @param {number} index
 * @param {number} depth
 * @returns {Source | undefined}
 */
function sourceAt(node, index, depth = 0) {
  const graph = node.graph;
  const link = inputLink(node, index);
  if (!graph || !link || depth > DEPTH) return undefined;
  if (Number(link.origin_id) === SUBGRAPH_INPUT) {
    const container = containerOf(graph.rootGraph ?? graph, graph);
    const outer = container?.inputs?.[link.origin_slot];
    if (!container || !outer) return undefined;
    if (inputLink(container, link.origin_slot)) return sourceAt(container, link.origin_slot, depth + 1);
    const name = outer.widget?.name ?? outer.name;
    const widget = container.widgets?.find((each) => each.name === name);
    return widget && { widget };
  }
  const origin = nodeById(graph, link.origin_id);
  return origin && throughNode(origin, link.origin_slot, depth + 1);
}

/**
 * @param {GraphNode} node
 * @param {number} slot
 * @param {number} depth
 * @returns {Source | undefined}
 */
function throughNode(node, slot, depth) {
  if (node.mode === MUTED) return undefined;
  if (node.type === "Reroute") return sourceAt(node, 0, depth);
  if (node.mode === BYPASSED) {
    const type = node.outputs?.[slot]?.type;
    const index = (node.inputs ?? []).findIndex((input) => input.type === type);
    return index < 0 ? undefined : sourceAt(node, index, depth);
  }
  if (node.subgraph) {
    const link = linkOf(node.subgraph, node.subgraph.outputs?.[slot]?.linkIds?.[0]);
    const inner = link && nodeById(node.subgraph, link.origin_id);
    return inner && link ? throughNode(inner, link.origin_slot, depth + 1) : undefined;
  }
  return { node, slot };
}

/**
 * What feeds the input of this name.
 * @param {GraphNode} node
 * @param {string} name
 * @param {number} [depth]
 */
export function source(node, name, depth = 0) {
  const index = (node.inputs ?? []).findIndex((input) => input.name === name);
  return index < 0 ? undefined : sourceAt(node, index, depth);
}

/** @param {GraphNode} node @param {string} name */
export function isLinked(node, name) {
  const index = (node.inputs ?? []).findIndex((input) => input.name === name);
  return index >= 0 && inputLink(node, index) !== undefined;
}

/** @param {GraphNode} node @param {string} name */
export const widgetValue = (node, name) => node.widgets?.find((widget) => widget.name === name)?.value;

/**
 * The value that an input will have: its widget's, or what is linked to it where that can be read without a run.
 * @param {GraphNode} node
 * @param {string} name
 * @returns {any} undefined where only a run can tell
 */
export function valueOf(node, name) {
  if (!isLinked(node, name)) return widgetValue(node, name);
  const found = source(node, name);
  if (!found) return undefined;
  if ("widget" in found) return found.widget.value;
  if (found.node.type.startsWith("Primitive") || found.node.type === "INTConstant") {
    return widgetValue(found.node, "value") ?? found.node.widgets?.[0]?.value;
  }
  return undefined;
}

/**
 * The nodes downstream of an output, nearest first, through everything that passes data on.
 * @param {GraphNode} start
 * @param {number} slot
 * @returns {GraphNode[]}
 */
export function downstream(start, slot) {
  /** @type {GraphNode[]} */
  const found = [];
  const seen = new Set([start]);
  /** @type {[GraphNode, number | null][]} */
  let wave = [[start, slot]];
  for (let depth = 0; wave.length && depth < DEPTH; depth++) {
    /** @type {[GraphNode, number | null][]} */
    const next = [];
    for (const [node, only] of wave) {
      (node.outputs ?? []).forEach((_, index) => {
        if (only !== null && index !== only) return;
        for (const target of targetsOf(node, index)) {
          if (seen.has(target)) continue;
          seen.add(target);
          found.push(target);
          if (target.subgraph) found.push(...nodesOf(target.subgraph));
          next.push([target, null]);
        }
      });
    }
    wave = next;
  }
  return found;
}

/**
 * The values of all that a node is fed by, to notice when one of them is another.
 * @param {GraphNode} node
 * @param {Set<GraphNode>} [seen]
 * @returns {any[]}
 */
export function valuesBehind(node, seen = new Set()) {
  seen.add(node);
  return (node.inputs ?? []).map((_, index) => {
    const found = sourceAt(node, index);
    if (!found) return null;
    if ("widget" in found) return found.widget.value;
    const from = found.node;
    const values = (from.widgets ?? []).map(({ name, value }) => [name, typeof value === "object" ? null : value]);
    return [String(from.id), found.slot, values, seen.has(from) ? null : valuesBehind(from, seen)];
  });
}
