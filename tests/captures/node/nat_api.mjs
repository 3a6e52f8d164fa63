// @silentbot1/nat-api: one port over both transports, and its end. A line on standard input ends it.
import NatAPI from '@silentbot1/nat-api'

const client = new NatAPI({ enablePMP: false, enableUPNP: true, description: 'NatAPI', autoUpdate: false })
console.log(await client.externalIp())
console.log(await client.map(18110, 18110))
console.log('mapped')
await new Promise((resolve) => process.stdin.once('data', resolve))
console.log(await client.unmap(18110, 18110))
await client.destroy()
process.exit(0)
