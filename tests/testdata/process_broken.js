// Not a module: the syntax error is what is tested.
export function target() {
