/**
 * All that asks the platform: the door of this folder.
 *
 * @module
 */
export {
  addressOf,
  checkEndpoint,
  type EndpointOptions,
  endpointOptions,
  isAbstract,
} from "./endpoint.ts";
export {
  dropPermissions,
  type PermissionNeed,
  permissionsFor,
  requirePermissions,
} from "./permissions.ts";
export { dial, isHopeless } from "./dial.ts";
export { closeSocket, isClosed, isOfPeer, type Socket } from "./socket.ts";
export { bind, type Binding } from "./bind.ts";
