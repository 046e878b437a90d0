// Draws a part again only where its properties have changed. `preact/compat` has the same, with
// everything else of React.

import { Component, h, type FunctionComponent } from "preact";

export function memo<P extends object>(
  part: FunctionComponent<P>,
  isSame: (one: P, other: P) => boolean,
): FunctionComponent<P> {
  class Kept extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      return !isSame(this.props, next);
    }

    override render() {
      return h(part, this.props as P);
    }
  }
  return Kept as unknown as FunctionComponent<P>;
}
