// Prints the port of a server that listens on any free one.
import { Server } from "node:net";

const listen = Server.prototype.listen;
Server.prototype.listen = function (...options) {
  this.once("listening", () => console.log(`listening on ${this.address().port}`));
  return listen.apply(this, options);
};
