// Asks the model the golden inputs and compares what it answers, on Android: unpack the bundle into a folder that the
// app can read, and call `check(folder)` from an instrumented test.
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import org.json.JSONArray
import org.json.JSONObject

/** What differs by more than is allowed, a line each; empty: the model answers as it did when it was bundled. */
fun check(bundle: File, exact: Boolean = false): List<String> {
    val golden = File(bundle, "golden")
    val index = JSONObject(File(golden, "index.json").readText())
    val tolerance = index.getJSONObject("tolerance")
    val signature = JSONObject(File(bundle, "signature.json").readText())
    val takes = ends(signature.getJSONArray("inputs"))
    val gives = ends(signature.getJSONArray("outputs"))
    val pairs = index.getJSONArray("pairs")
    val wrong = mutableListOf<String>()
    Model(bundle).use { model ->
        for (number in 0 until pairs.length()) {
            val pair = pairs.getJSONObject(number)
            val inputs = pair.getJSONObject("inputs")
            val given = inputs.keys().asSequence().associateWith { read(golden, inputs.getJSONObject(it)) }
            for ((name, bytes) in given) {
                if (!givesBack(takes.getValue(name), bytes)) wrong += "pair $number $name: toInput gives other integers"
            }
            val answers = model.run(given)
            val outputs = pair.getJSONObject("outputs")
            for (name in outputs.keys()) {
                val said = outputs.getJSONObject(name)
                val allowed = if (exact) 0.0 else tolerance.getDouble(name)
                val apart = largestDifference(said.getString("dtype"), answers.getValue(name), read(golden, said))
                val told = answer(bundle, gives.getValue(name), answers.getValue(name))?.let { ", answer $it" } ?: ""
                if (!(apart <= allowed)) wrong += "pair $number $name: largest difference $apart, allowed $allowed$told"
            }
        }
    }
    return wrong
}

private fun ends(said: JSONArray): Map<String, JSONObject> =
    (0 until said.length()).map { said.getJSONObject(it) }.associateBy { it.getString("name") }

// whether an app that has values comes to these integers
private fun givesBack(end: JSONObject, given: ByteBuffer): Boolean {
    if (end.isNull("quantization")) return true
    val dtype = end.getString("dtype")
    return (0 until given.capacity() / bytesOf(dtype)).all { place ->
        val integer = value(dtype, given, place * bytesOf(dtype))
        toInput(end, fromOutput(end, integer)).toDouble() == integer
    }
}

private fun read(folder: File, said: JSONObject): ByteBuffer {
    val bytes = File(folder, said.getString("file")).readBytes()
    val buffer = ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.LITTLE_ENDIAN)
    buffer.put(bytes)
    buffer.rewind()
    return buffer
}

private fun largestDifference(dtype: String, found: ByteBuffer, wanted: ByteBuffer): Double {
    if (found.capacity() != wanted.capacity()) return Double.NaN
    val size = bytesOf(dtype)
    var most = 0.0
    for (place in 0 until found.capacity() / size) {
        val apart = abs(value(dtype, found, place * size) - value(dtype, wanted, place * size))
        if (!(apart <= most)) most = apart
    }
    return most
}
