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
  isDenied,
  type PermissionNeed,
  permissionsFor,
  requirePermissions,
} from "./permissions.ts";
export { dial } from "./dial.ts";
export { closeSocket, isClosed, isOfPeer, type Socket } from "./socket.ts";
export { bind, type Binding } from "./bind.ts";
