// @achingbrain/nat-port-mapper: both transports over IPv4 and IPv6, and their end.
// Arguments: the client's description URLs. A line on standard input ends the mappings.
import { upnpNat } from '@achingbrain/nat-port-mapper'

const client = upnpNat({ description: 'libp2p', autoRefresh: false })
const found = []
for await (const gateway of client.findGateways({ signal: AbortSignal.timeout(5000) })) {
  found.push(gateway)
  if (found.length === 2) break
}
for (const gateway of found) {
  for (const protocol of ['TCP', 'UDP']) {
    for await (const mapping of gateway.mapAll(18100, { protocol })) console.log(JSON.stringify(mapping))
  }
}
console.log('mapped')
await new Promise((resolve) => process.stdin.once('data', resolve))
for (const gateway of found) await gateway.unmap(18100)
process.exit(0)
